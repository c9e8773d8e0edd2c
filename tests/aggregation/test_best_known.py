"""What all attacks of a row leave together, on outcomes written by hand."""

from pathlib import Path
from typing import Any

import board
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from board import Board, share

from benchmark.aggregation.page_tables import summarise
from benchmark.metrics import METRICS
from benchmark.rederivation import robustness
from benchmark.rederivation.kept import Kept
from benchmark.results.store import CorruptArtifact, Store
from benchmark.stats import clopper_pearson, counted_rate

PRIMARY, SECOND, FILE, ELSEWHERE = "pgd-l2-1", "fgsm-l2-1", "given-l2-1", "pgd-l2-2"
EVASION = [
    *board.EVASION,
    {"label": FILE, "kind": "given", "norm": "l2", "epsilon": 1.0},
    {"label": ELSEWHERE, "kind": "iterated", "norm": "l2", "epsilon": 2.0},
]
# Of ten images, from the left: 1 stands.
ROBUST = {
    (PRIMARY, 0): "1111111100", (SECOND, 0): "1101111110", (FILE, 0): "1110111111", (ELSEWHERE, 0): "0000000000",
    (PRIMARY, 1): "1111110000", (SECOND, 1): "1111101111",
}  # fmt: skip
CURVE = pa.table({"step": [0, 1, 2], "loss": [0.1, 0.2, 0.3]})
TOGETHER = [6, 5]  # replica 0 loses one image to each of two others; replica 1, for which no file is, one


def evaded(made: Board, robust: dict[tuple[str, int], str], model: str = "m") -> None:
    for (method, replica), images in robust.items():
        stands = torch.tensor([mark == "1" for mark in images])
        tensors = {"test_clean": torch.ones(len(images), dtype=torch.bool), "test_robust": stands}
        tensors["test_distance"] = torch.zeros(len(images))
        rows = [share("robust_accuracy", int(stands.sum()), len(images))]
        made.add("evade", model, replica, rows, method, tensors=tensors, curve=CURVE)


def summed_up(folder: Path, robust: dict[tuple[str, int], str]) -> tuple[Store, dict[tuple[str, str], Any], Any]:
    """The store, rows over replicas by (method, metric), and the leaderboard's line."""
    made = Board(folder / "results", ["m"])
    evaded(made, robust)
    store = made.finish()
    summarise(store, folder / "site")
    rows = pq.read_table(folder / "site" / "results.parquet").to_pylist()
    joined = {(row["method"], row["metric"]): row for row in rows if row["replica"] is None and row["stage"] == "evade"}
    return store, joined, pq.read_table(folder / "site" / "leaderboard.parquet").to_pylist()[0]


@pytest.fixture(autouse=True)
def attacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, "EVASION", EVASION)


def test_an_image_counts_only_where_every_attack_failed(tmp_path: Path) -> None:
    _, rows, line = summed_up(tmp_path, ROBUST)
    assert line["robust_accuracy"] == pytest.approx(0.7)
    assert line["best_known_robust_accuracy"] == pytest.approx(0.55) and line["attack_gap"] == pytest.approx(0.15)
    expected = counted_rate(TOGETHER, 10, [0, 0])
    ends = [line[f"best_known_robust_accuracy{end}"] for end in ("_low", "_high")]
    assert ends == pytest.approx(expected[1:3]) and line["attack_gap_low"] < 0.15 < line["attack_gap_high"]
    said = rows[PRIMARY, "best_known_robust_accuracy"]["note"]
    assert said == f"every image under the primary attack and {SECOND}, {FILE} (replica 0)"


def test_who_beats_the_primary_attack_and_how_often(tmp_path: Path) -> None:
    """The second fools images 2 (replica 0) and 5 (replica 1) beyond the primary; 1 and 4 it misses."""
    _, rows, _ = summed_up(tmp_path, ROBUST)
    found = {place: row["value"] for place, row in rows.items() if place[1] in ("beats_primary", "loses_to_primary")}
    assert found == pytest.approx({
        (SECOND, "beats_primary"): 0.1, (SECOND, "loses_to_primary"): 0.25,
        (FILE, "beats_primary"): 0.1, (FILE, "loses_to_primary"): 0.2,
    })  # fmt: skip


def test_alone_the_primary_attack_is_the_best_known(tmp_path: Path) -> None:
    _, rows, line = summed_up(tmp_path, {place: marks for place, marks in ROBUST.items() if place[0] == PRIMARY})
    assert line["best_known_robust_accuracy"] == line["robust_accuracy"] == pytest.approx(0.7)
    assert line["attack_gap"] == 0 and line["attack_gap_high"] == pytest.approx(clopper_pearson(0, 10).high)
    assert rows[PRIMARY, "best_known_robust_accuracy"]["note"] == "no other attack in its ball"


def test_without_the_primary_attack_there_is_nothing_and_a_reason(tmp_path: Path) -> None:
    _, rows, line = summed_up(tmp_path, {(SECOND, 0): "1101111110"})
    assert line["best_known_robust_accuracy"] is None and line["attack_gap"] is None
    assert rows[PRIMARY, "best_known_robust_accuracy"]["note"] == "not run yet"


def test_attacks_on_other_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CorruptArtifact, match="not as many images as the primary attack has"):
        summed_up(tmp_path, {**ROBUST, (SECOND, 1): "11111"})


def test_other_code_derives_the_same(tmp_path: Path) -> None:
    store, rows, _ = summed_up(tmp_path, ROBUST)
    (manifest,) = store.plans()
    kept = Kept(store, manifest, set(store.keys()))
    names = {metric.name for metric in METRICS if metric.join.name == "EVERY_ATTACK"}
    derived = {(n.place.method, n.place.metric): n for n in robustness._of_every_attack(kept, "m")}
    assert derived.keys() == {place for place in rows if place[1] in names}
    for place, number in derived.items():
        row = rows[place]
        assert (number.value, number.low, number.high) == pytest.approx((row["value"], row["low"], row["high"]))
