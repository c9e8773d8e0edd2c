"""The tolerances of `make gpu`: they let rounding pass, and nothing that is wrong."""

from typing import Any

import pytest
import torch

from benchmark.models.classifier import Classifier, InputInfo
from perf.gpu import truth
from perf.gpu.rounding import BFLOAT16, FLOAT32, FLOAT64, RUNS, How, against_float64, rounding

State = dict[str, torch.Tensor]


@pytest.mark.slow
def test_rounding_is_within_and_a_wrong_weight_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    right = list(truth.passes("small_resnet", truth.GREY, "cpu", 4))
    assert {row["verdict"] for row in right} <= {"within", "tells nothing"}
    assert {row["verdict"] for row in right if "logits" in row["what"]} == {"within"}

    build, calls = truth._built, list[str]()

    def one_weight_off(name: str, info: InputInfo, state: State | None = None) -> Classifier:
        model = build(name, info, state)
        calls.append(name)
        if len(calls) == 2 + RUNS:  # after the reference and the runs that the tolerance is derived from
            with torch.no_grad():
                next(model.parameters()).flatten()[0] += 0.01
        return model

    monkeypatch.setattr(truth, "_built", one_weight_off)
    wrong = [row for row in truth.passes("small_resnet", truth.GREY, "cpu", 4) if "logits" in row["what"]]
    assert [row["verdict"] for row in wrong[:2]] == ["OUTSIDE", "OUTSIDE"]
    assert {row["verdict"] for row in wrong[2:]} == {"within"}


def test_half_precision_is_outside_what_float32_may_be_off() -> None:
    """bfloat16 on the CPU, whose roundings torch makes itself: inside its own tolerance, outside float32's."""
    torch.manual_seed(0)
    x = torch.rand(8, 1, 28, 28, generator=torch.Generator().manual_seed(1))

    def work(how: How) -> torch.Tensor:
        model = how.moved(truth._built("small_resnet", truth.GREY))
        half = torch.autocast("cpu", torch.bfloat16, enabled=how.unit != FLOAT64)
        with torch.no_grad(), rounding(model, how.noise), half:
            return model(x)

    def apart(found: torch.Tensor, expected: torch.Tensor) -> dict[str, float]:
        return {"logits": float((found - expected).abs().max() / expected.abs().max())}

    hows = [How("cpu", BFLOAT16), How("cpu", FLOAT32)]
    verdicts = [row["verdict"] for row in against_float64("logits", work, apart, hows, 8)]
    assert verdicts == ["within", "OUTSIDE"]


def test_counts_have_the_tolerance_of_the_rule_of_three() -> None:
    def apart(found: torch.Tensor, expected: torch.Tensor) -> dict[str, float]:
        return {"differ": float((found != expected).sum())}

    verdicts = []
    for wrong in (0, 4, 5):  # 4 times 3 / 3 runs
        outcomes = {FLOAT64: torch.arange(20) < 0, FLOAT32: torch.arange(20) < wrong}
        (row,) = against_float64(
            "attack", lambda how, of=outcomes: of[how.unit], apart, [How("cpu", FLOAT32)], 20, counted=True
        )
        verdicts.append((row["tolerance"], row["verdict"]))
    assert verdicts == [(4.0, "within"), (4.0, "within"), (4.0, "OUTSIDE")]


def test_a_tolerance_as_large_as_what_is_measured_tells_nothing() -> None:
    def work(how: How) -> torch.Tensor:
        return torch.tensor(1.0 if how.noise else 0.0)

    (row,) = against_float64("weights", work, lambda a, b: {"": float(a - b)}, [How("cpu", FLOAT32)], 1)
    assert row["difference"] == 0 and row["verdict"] == "tells nothing"


def test_equal_is_to_the_last_bit() -> None:
    one = torch.rand(5)
    other = one.clone()
    assert truth.same("x", "cpu", one, other)["verdict"] == "equal"
    other[3] = torch.nextafter(other[3], torch.tensor(2.0))
    found: dict[str, Any] = truth.same("x", "cpu", one, other)
    assert found["verdict"] == "DIFFERS" and found["difference"] > 0
