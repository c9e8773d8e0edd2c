"""What `make gpu` runs, tried where there is no GPU: that it is right and goes on, not how fast it is."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmark.models.classifier import Classifier, InputInfo
from perf.gpu import truth

GREY = InputInfo(1, 28, 28, 10, (0.29,), (0.35,))


def sections(folder: Path, *more: str) -> tuple[int, dict[str, dict[str, object]]]:
    call = [sys.executable, "-m", "perf.gpu", "--device", "cpu", "--tiny", "--output", str(folder), *more]
    done = subprocess.run(call, capture_output=True, text=True, timeout=120)
    found = json.loads((folder / "gpu.json").read_text())["sections"]
    return done.returncode, {section["name"]: section for section in found}


@pytest.mark.slow
def test_results_are_written_after_a_section(tmp_path: Path) -> None:
    code, found = sections(tmp_path, "--only", "neighbors")
    assert code == 0 and not found["neighbors"]["problem"]
    assert "share of equal ids 1.000000" in (tmp_path / "gpu.md").read_text()


@pytest.mark.slow
def test_what_there_is_no_time_for_is_said(tmp_path: Path) -> None:
    code, found = sections(tmp_path, "--only", "speed", "neighbors", "--minutes", "0.02")
    assert code == 1
    assert [section["problem"] for section in found.values()] == ["not begun: 1 s were left"] * 2


def test_the_tolerance_tells_rounding_from_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    right = truth._passes("small_resnet", GREY, "cpu", 4)
    assert {row["verdict"] for row in right} == {"within"}

    build = truth._built

    def one_weight_off(name: str, info: InputInfo) -> Classifier:
        model = build(name, info)
        if calls:  # the first network is the reference
            with torch.no_grad():
                next(model.parameters()).flatten()[0] += 0.01
        calls.append(name)
        return model

    calls: list[str] = []
    monkeypatch.setattr(truth, "_built", one_weight_off)
    wrong = [row for row in truth._passes("small_resnet", GREY, "cpu", 4) if "logits" in row["what"]]
    assert [row["verdict"] for row in wrong if "float32" in row["how"]] == ["OUTSIDE", "OUTSIDE"]
