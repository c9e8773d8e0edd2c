"""Curves of a training on the page, from rows by hand."""

from typing import Any
from xml.etree import ElementTree

import pytest

from leaderboard.learning_curves import section
from leaderboard.svg_charts import by_epoch


def row(
    metric: str, value: float | None, replica: int | None = 0, note: str = "", stage: str = "train"
) -> dict[str, Any]:
    return {"stage": stage, "metric": metric, "value": value, "replica": replica, "note": note}


def points(svg: Any, kind: str) -> list[tuple[float, ...]]:
    path = next(p.get("d") or "" for p in ElementTree.fromstring(svg) if p.get("class") == kind)
    return [tuple(map(float, point.split())) for point in path[1:].split("L")]


def test_the_mean_over_replicas_that_reached_the_epoch() -> None:
    """Losses 1 and 3, then 1 and 2; then replica 1 has stopped: 2, 1.5, 1."""
    losses = [row(f"train_loss_epoch_{e}", v, r) for r, v3 in ((0, (1.0, 1.0, 1.0)), (1, (3.0, 2.0))) for e, v in
              enumerate(v3, 1)]  # fmt: skip
    found = section([*losses, row("train_loss_epoch_1", 100.0, None), row("train_loss_epoch_4", None)])
    assert found is not None and len(found["charts"]) == 1 and not found["watched"] and found["said"] == []
    (first, second, third) = points(found["charts"][0]["svg"], "series-1")
    assert (first[0], third[0]) == (58, 458) and second[0] == pytest.approx(258)
    bottom = 320 - 46  # a loss of 0; the highest mean, 2, is at the top
    assert first[1] == 12 and second[1] == pytest.approx(bottom - 0.75 * (bottom - 12), abs=0.1)
    assert third[1] == pytest.approx((bottom + 12) / 2)


def test_accuracies_have_a_chart_of_their_own() -> None:
    rows = [row("train_loss_epoch_1", 1.0)]
    rows += [row(f"{name}_epoch_1", 0.5) for name in ("validation_robust_accuracy", "validation_accuracy")]
    found = section(rows)
    assert found is not None and found["watched"]
    assert [line["name"] for line in found["charts"][1]["legend"]] == [
        "clean, on auxiliary images", "robust, on auxiliary images"
    ]  # fmt: skip


def test_what_a_training_says_of_its_end_is_said_once() -> None:
    rows = [row("train_loss_epoch_1", 1.0)]
    rows += [row("catastrophic_overfitting", 7.0, replica, "it fell") for replica in (0, 1)]
    rows += [row("catastrophic_overfitting", 0.0, 2, "not seen in any epoch")]
    found = section(rows)
    assert found is not None and found["said"] == ["replica 0, 1: catastrophic overfitting 7: it fell"]


def test_rows_of_other_steps_are_no_curve() -> None:
    assert section([row("train_loss_epoch_1", 1.0, stage="fit_prior"), row("test_accuracy", 0.9)]) is None
    assert section([]) is None


@pytest.mark.parametrize("values", [[0.5], [-1.0, -2.0], [3.0, 3.0], [0.0, 0.0]])
def test_it_draws_whatever_the_numbers(values: list[float]) -> None:
    found = section([row(f"train_loss_epoch_{i}", value) for i, value in enumerate(values, 1)])
    assert found is not None
    places = points(found["charts"][0]["svg"], "series-1")
    assert len(places) == len(values) and all(12 <= y <= 274 for _, y in places)


def test_epochs_are_whole_numbers() -> None:
    svg = by_epoch({"a <b>": [(1.0, 0.0), (2.0, 1.0), (3.0, 0.5)]}, "accuracy", (0.0, 1.0))
    texts = [element.text for element in ElementTree.fromstring(svg) if element.tag == "text"]
    assert texts[:3] == ["1", "2", "3"]
