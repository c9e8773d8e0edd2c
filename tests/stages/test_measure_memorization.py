"""The stage `memorization`, on queries written by hand."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from benchmark.results.store import Store
from benchmark.stages import measure_memorization
from benchmark.stages.measure_memorization import MeasureMemorization
from benchmark.trials.trial import Context, Outcome, Settings, Trial

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding and encoding:DeprecationWarning")
MADE = {
    "git_commit": "c", "versions": "v", "device": "d", "host": "h", "threads": 1, "wall_s": 1.0, "gpu_s": 0.0,
    "created_utc": "2026-01-01T00:00:00.000+00:00",
}  # fmt: skip
IDS = torch.tensor([3, 5, 7, 8])
"""Image 3 is right where it was trained on, 5 always, 7 where it was not, 8 is in no replica."""


def queried(member: list[int], correct: list[int], ball: bool = True) -> dict[str, torch.Tensor]:
    inside = torch.tensor(member, dtype=torch.bool)
    own = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    return {
        "margins": torch.stack([own + 2 * inside, own - 9], dim=1),
        "adversarial": torch.stack([own - 5, own - 6], dim=1)[:, : 2 if ball else 0].clone(),
        "correct": torch.tensor(correct, dtype=torch.bool),
        "is_member": inside,
        "is_out": ~inside & (IDS != 8),
        "never_seen": ~inside,
        "image_id": IDS,
        "label": torch.tensor([0, 1, 0, 1]),
        "group": torch.tensor([3, 5, 7, 7]),
    }


REPLICAS = {
    0: ([1, 1, 0, 0], [1, 1, 1, 0]),
    1: ([0, 0, 1, 0], [0, 1, 0, 0]),
    2: ([1, 0, 0, 0], [1, 1, 1, 1]),
    10: ([0, 1, 1, 0], [0, 1, 0, 1]),
}
"""Replica -> (members, right). The last two are shadows."""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data = SimpleNamespace(
        class_names=("a", "b"),
        classes=lambda ids: ids % 2,
        pixels=lambda ids: ids[:, None, None, None].expand(-1, 1, 4, 4).to(torch.uint8),
    )
    monkeypatch.setattr(measure_memorization, "load_data", lambda context: (data, None))
    store = Store(tmp_path)

    def ran(replicas: dict, ball: bool = True, **settings: int) -> tuple[Outcome, Context]:
        inputs = {"pools": "0" * 64}
        for replica, (member, correct) in replicas.items():
            trial = Trial({"method": "query", "replica": replica, "ball": ball}, 0, {})
            store.write(trial, Outcome(tensors=queried(member, correct, ball)), MADE)
            inputs[f"query_{replica}"] = trial.key
        own = Trial({"method": "memorization"}, 0, inputs)
        context = Context(own, store, Settings(str(tmp_path)))
        outcome = MeasureMemorization.parse({"num_attacked": 2, **settings}).run(context)
        store.write(own, outcome, MADE)
        return outcome, context

    return ran


def test_by_hand(run) -> None:
    outcome, _ = run(REPLICAS)
    table = outcome.tables["memorization"].to_pydict()
    assert table["image_id"] == [3, 5, 7, 8] and table["class_id"] == [0, 1, 0, 1] and table["group"] == [3, 5, 7, 7]
    assert table["memorization"] == [1.0, 0.0, -1.0, None] and table["memorization_elsewhere"] == [1.0, 0.0, -1.0, None]
    assert table["num_in"] == [2, 2, 2, 0] and table["num_out"] == [2, 2, 2, 4]
    assert table["margin_gap"] == [2.0, 2.0, 2.0, None], "of the image itself"
    assert table["attacked_in"] == [1, 1, 1, 0] and table["attacked_out"] == [1, 1, 1, 0]
    assert table["robust_margin"] == [-5.0, -4.0, -3.0, None], "of the worse of two versions"
    rows = {row["metric"]: row for row in outcome.rows}
    assert rows["memorization_mean"]["value"] == 0 and rows["memorized_share"]["value"] == 0
    assert rows["memorization_mean"]["n"] == 3 and rows["memorization_mean"]["low"] < 0
    assert outcome.tables["pictures"]["image_id"].to_pylist() == [3], "above 0 alone"


def test_rows_follow_from_the_table(run) -> None:
    outcome, context = run(REPLICAS)
    assert MeasureMemorization.parse({"num_attacked": 2}).rederived(context) == outcome.rows


def test_without_shadows_and_without_adversarial_versions(run) -> None:
    outcome, _ = run({0: REPLICAS[0], 1: REPLICAS[1]}, ball=False, shown=0)
    table = outcome.tables["memorization"].to_pydict()
    assert table["memorization"] == [1.0, 0.0, -1.0, None] and table["memorization_elsewhere"] == [None] * 4
    assert table["robust_margin"] == [None] * 4 and len(outcome.tables["pictures"]) == 0


def test_one_model_alone_says_why_there_is_nothing(run) -> None:
    outcome, _ = run({0: REPLICAS[0]}, num_attacked=1)
    assert {row["value"] for row in outcome.rows} == {None}
    assert all("not by another" in row["note"] for row in outcome.rows)
