"""The table of images and its rank correlations, from results written by hand."""

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from board import Board
from scipy.stats import spearmanr

from benchmark import schema
from benchmark.aggregation.image_tables import correlation_rows, image_table
from benchmark.aggregation.page_tables import summarise
from benchmark.aggregation.suite_results import SuiteResults
from benchmark.results.store import CorruptArtifact, Store
from benchmark.stages.shared.image_values import SCHEMA
from benchmark.trials.trial import Row

IDS = list(range(100, 112))
"""Twelve images; the first six are members of replica 0, the others of replica 1."""
VALUES = {
    "image_id": IDS,
    "class_id": [0, 1] * 6,
    "group": IDS,
    "memorization": [0.5] * 12,
    "memorization_error": [0.1] * 12,
    "memorization_elsewhere": [i / 12 for i in range(12)],
    "margin_gap": [1.0] * 12,
    "num_in": [4] * 12,
    "num_out": [4] * 12,
    "attacked_in": [1] * 11 + [0],
    "attacked_out": [1] * 12,
    "robust_margin": [float(-i) for i in range(12)],
}


def near(members: list[list[int]], others: list[list[int]]) -> dict[str, torch.Tensor]:
    """members, others: of each reconstruction, its nearest images in order; cosines fall by 0.1 from 0.9."""
    sides = {"in": torch.tensor(members), "out": torch.tensor(others)}
    tensors = {f"{space}_{side}_ids": ids for space in schema.SPACES for side, ids in sides.items()}
    cosines = {
        name.replace("ids", "cosines"): 0.9 - 0.1 * torch.arange(ids.shape[1]).expand(*ids.shape)
        for name, ids in tensors.items()
    }
    return {name: tensor.clone() for name, tensor in (tensors | cosines).items()}


def scored(board: Board, method: str, replica: int, score: list[float], shadow_auc: float) -> None:
    member = [(i < 6) == (replica == 0) for i in range(12)]
    table = pa.table({
        "image_id": IDS, "label": [0] * 12, "group": IDS, "score": score, "is_member": member,
        "judged": [i != 6 for i in range(12)],
    })  # fmt: skip
    rows = [Row(metric="shadow_auc", value=shadow_auc, n=1)]
    board.add("infer_membership", "m", replica, rows, method, scores=table)


def written(root: Path, **changes: list[float | None]) -> Store:
    board = Board(root, ["m", "unmeasured"])
    found = pa.table({field.name: pa.array((VALUES | changes)[field.name], field.type) for field in SCHEMA})
    pictures = schema.unlabelled("pictures").empty_table()
    board.add(
        "memorization", "m", None, [Row(metric="memorization_mean", value=0.5)], memorization=found, pictures=pictures
    )
    board.add(
        "neighbours", "m", 0, [], "gradient", tensors=near([[100, 101], [100, 102], [101, 100]], [[106], [107], [106]])
    )
    board.add("neighbours", "m", 1, [], "gradient", tensors=near([[106, 107]], [[100]]))
    up, down = [float(i) for i in range(12)], [float(-i) for i in range(12)]
    for replica in (0, 1):
        scored(board, "loss_threshold", replica, up, 0.6)
        scored(board, "lira", replica, down, 0.7)
    return board.finish()


def results(store: Store) -> SuiteResults:
    return SuiteResults(store, next(iter(store.plans())))


def test_the_table_by_hand(tmp_path: Path) -> None:
    summarise(written(tmp_path / "results"), tmp_path / "site")
    table = pq.read_table(tmp_path / "site" / "images.parquet")
    assert table.schema.equals(schema.IMAGES)
    rows = {row["image_id"]: row for row in table.to_pylist()}
    assert list(rows) == IDS and {row["inversion"] for row in rows.values()} == {"gradient"}
    assert [rows[i]["exposure_pixel"] for i in IDS] == [2, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, None]
    assert [rows[i]["exposure_out_pixel"] for i in IDS] == [1, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0]
    cosines = [rows[i]["cosine_evaluator"] for i in IDS]
    assert cosines[:8] == pytest.approx([0.9, 0.9, 0.8, None, None, None, 0.9, 0.8]) and cosines[8:] == [None] * 4
    # lira is the strongest on shadows; its scores fall, so that members 0 to 5 are above all, 6 to 11 above none
    assert {row["membership_attack"] for row in rows.values()} == {"lira"}
    assert [rows[i]["membership_score"] for i in IDS] == [1.0] * 6 + [0.0] * 6
    assert rows[103]["memorization"] == 0.5 and rows[103]["num_in"] == 4 and rows[103]["robust_margin"] == -3.0


def test_it_is_read_once_a_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, read = written(tmp_path / "results"), list[str]()
    table = Store.table
    monkeypatch.setattr(Store, "table", lambda *given: (read.append(given[2]), table(*given))[1])
    summarise(store, tmp_path / "site", images=False)
    assert read.count("memorization") == 1 and read.count("scores") == 4 + 2, "those of the strongest again, to compare"


def test_ties_and_judged_images_in_the_membership_score(tmp_path: Path) -> None:
    board = Board(tmp_path, ["m"])
    found = pa.table({field.name: pa.array(VALUES[field.name], field.type) for field in SCHEMA})
    board.add("memorization", "m", None, [], memorization=found)
    scored(board, "loss_threshold", 0, [3.0, 9.0, 0.0, 5.0, 5.0, 5.0, 99.0, 1.0, 2.0, 3.0, 3.0, 4.0], 0.5)
    images = image_table(results(board.finish()), "m")
    assert images is not None and images.attack == "loss_threshold" and images.inversions == []
    # image 6, a near-duplicate of a member, is not judged; the others score 1, 2, 3, 3, 4
    assert images.membership[:4].tolist() == [(2 + 1) / 5, 1.0, 0.0, 1.0]
    assert np.isnan(images.membership[6:]).all(), "members of no replica that was attacked"


def test_correlations_are_those_of_scipy_and_tell_where_they_are_from(tmp_path: Path) -> None:
    images = image_table(results(written(tmp_path)), "m")
    assert images is not None
    rows = {(row["metric"], row["method"], row["space"]): row for row in correlation_rows(images)}
    assert rows["memorization_robust_margin", "", ""]["value"] == pytest.approx(-1)
    exposure, elsewhere = [2, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0], [i / 12 for i in range(11)]
    found = rows["memorization_exposure", "gradient", "pixel"]
    assert found["value"] == pytest.approx(spearmanr(elsewhere, exposure)[0]) and found["n"] == 11
    assert found["low"] < found["value"] < found["high"] and found["note"] is None
    gap = rows["memorization_exposure_gap", "gradient", "evaluator"]
    assert gap["value"] == pytest.approx(spearmanr(elsewhere, [1, 1, 0, 0, 0, 0, -1, -1, 0, 0, 0])[0])
    assert rows["memorization_membership", "lira", ""]["value"] == pytest.approx(
        spearmanr(range(12), [1] * 6 + [0] * 6)[0]
    )
    assert ("memorization_cosine", "gradient", "pixel") not in rows, "five images are too few"


def test_without_shadows_the_common_chance_is_told(tmp_path: Path) -> None:
    changes = {"memorization_elsewhere": [None] * 12, "memorization": [i % 5 / 5 for i in range(12)]}
    images = image_table(results(written(tmp_path, **changes)), "m")
    assert images is not None
    notes = {row["metric"]: row["note"] for row in correlation_rows(images)}
    assert "attacked replicas themselves" in notes["memorization_exposure"] and notes["membership_exposure"] is None


def test_nothing_measured_is_nothing_shown(tmp_path: Path) -> None:
    assert image_table(results(written(tmp_path)), "unmeasured") is None


def test_an_unknown_image_is_no_result(tmp_path: Path) -> None:
    board = Board(tmp_path, ["m"])
    found = pa.table({field.name: pa.array(VALUES[field.name], field.type) for field in SCHEMA})
    board.add("memorization", "m", None, [], memorization=found)
    node = board.add("neighbours", "m", 0, [], "gradient", tensors=near([[1]], [[106]]))
    with pytest.raises(CorruptArtifact, match="none of the private ones") as raised:
        image_table(results(board.finish()), "m")
    assert raised.value.key == node.key


def test_where_memorised_images_are_exposed_the_gap_says_so_and_where_central_ones_are_it_does_not() -> None:
    """Simulated: images near everything are hit on both sides; memorised ones as members alone."""
    from benchmark.aggregation.image_tables import Exposure, ImageTable

    rng = np.random.default_rng(0)
    central, memorised = rng.gamma(1, size=(2, 3000))
    values = {name: rng.normal(size=3000) for name in SCHEMA.names} | {"group": np.arange(3000.0)}
    for effect, measured in ((0.0, central), (1.0, memorised)):
        inside, outside = rng.poisson(central + effect * memorised), rng.poisson(central)
        exposure = Exposure(inside.astype(float), outside.astype(float), np.full(3000, math.nan))
        values["memorization_elsewhere"] = measured + rng.normal(size=3000)
        table = ImageTable(values, "", np.full(3000, math.nan), {("gradient", "pixel"): exposure})
        found = {row["metric"]: row for row in correlation_rows(table)}
        assert found["memorization_exposure"]["low"] > 0.1
        assert (found["memorization_exposure_gap"]["low"] > 0.1) == bool(effect)
        assert found["memorization_exposure_gap"]["high"] > 0
