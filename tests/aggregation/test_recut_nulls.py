"""Nulls of a whole suite of results: from what trials keep to p-values, power, the headline and the control."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from board import Board, share

from benchmark.aggregation.intervals_over_replicas import _joined, control_rows, model_rows
from benchmark.aggregation.pair_cuts import PairCuts
from benchmark.aggregation.recut_nulls import of_reconstructions
from benchmark.aggregation.suite_results import SuiteResults
from benchmark.metrics import STRONGEST
from benchmark.schema import SPACES

PRIVATE = np.arange(10, 90)
LABEL, GROUP = np.arange(100) % 2, np.arange(100)
LEAKY = "pixel"


def balanced() -> np.ndarray:
    """(80,) bool: half of each class."""
    first = np.zeros(80, dtype=bool)
    for label in (0, 1):
        own = np.flatnonzero(LABEL[PRIVATE] == label)
        first[np.random.default_rng(label).permutation(own)[:20]] = True
    return first


def neighbours(space: str, replica: int, inside: np.ndarray) -> tuple[dict[str, torch.Tensor], list[list[float]]]:
    """20 reconstructions, each near one image: members alone in the leaky space, any image in the others."""
    rng = np.random.default_rng([replica, len(space)])
    nearest = rng.permutation(np.flatnonzero(inside) if space == LEAKY else 80)[:20]
    cosines = rng.random((20, 80)) * 0.5
    cosines[np.arange(20), nearest] = 0.9
    tensors = {}
    for side, images in (("in", inside), ("out", ~inside)):
        own = np.where(images, cosines, -1)
        order = np.argsort(-own, axis=1)[:, :5]
        tensors[f"{space}_{side}_ids"] = torch.from_numpy(PRIVATE[order])
        tensors[f"{space}_{side}_cosines"] = torch.from_numpy(np.take_along_axis(own, order, axis=1)).float()
    return tensors, inside[nearest].astype(float).reshape(2, 10).tolist()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> SuiteResults:
    board = Board(tmp_path_factory.mktemp("recut") / "results", ["m", "alone"])
    first = balanced()
    arrays = {"private": PRIVATE, "label": LABEL, "group": GROUP}
    pools = board.add("pools", "", 0, [], tensors={name: torch.from_numpy(array) for name, array in arrays.items()})
    inputs = {"pools": pools.key}
    grids: dict[str, list[Any]] = {"m": [], "untrained": [], "alone": []}
    for replica, inside in ((0, first), (1, ~first)):
        for model in ("m", "alone") if replica == 0 else ("m",):
            rng = np.random.default_rng(replica)
            right = inside | (rng.random(80) < 0.5)
            outcome = {"is_member": torch.from_numpy(inside), "correct": torch.from_numpy(right)}
            board.add("predict", model, replica, [share("clean_accuracy", 5, 10)], inputs=inputs, tensors=outcome)
            score = inside + rng.normal(size=80)
            ids = {"image_id": PRIVATE, "label": LABEL[PRIVATE], "group": PRIVATE}
            table = {**ids, "score": score, "is_member": inside, "judged": [True] * 80}
            board.add("infer_membership", model, replica, [], "loss_threshold", scores=pa.table(table))
        for model in ("m", "untrained"):
            made = {space: neighbours(space, replica, inside) for space in SPACES}
            tensors = {name: tensor for part, _ in made.values() for name, tensor in part.items()}
            board.add("neighbours", model, replica, [], "gradient", inputs=inputs, tensors=tensors)
            grids[model].append({(space, "in_rate"): grid for space, (_, grid) in made.items()})
    for model in ("m", "untrained"):
        board.leaked(model, "gradient", grids[model])
    store = board.finish()
    return SuiteResults(store, next(store.plans()))


def rows(results: SuiteResults, model: str) -> dict[tuple[str, str], Any]:
    return {(row["metric"], row.get("space", "")): row for row in model_rows(results, PairCuts(results), model)}


def test_the_observed_statistic_is_the_one_that_was_measured(results: SuiteResults) -> None:
    judged = of_reconstructions(results, PairCuts(results), "m", "gradient")
    for (space, metric), values in results.cubes("m", "gradient"):
        assert judged[space, metric].null.observed == pytest.approx(float(np.mean(values)))
    draws = judged["evaluator", "in_rate"].null.draws
    assert draws.mean() == pytest.approx(0.5, abs=0.02) and draws.std() < 0.15


def test_the_leaky_space_is_the_headline_and_pays_for_three(results: SuiteResults) -> None:
    found = rows(results, "m")
    assert found["in_rate", ""]["value"] == found["in_rate", LEAKY]["value"] == 1.0
    assert "strongest of evaluator, evaluator_robust, pixel: pixel" in found["in_rate", ""]["note"]
    assert found["in_rate_p_value", LEAKY]["value"] == pytest.approx(0.001)
    assert found["in_rate_p_value", ""]["value"] == pytest.approx(0.003)
    assert found["in_rate", ""]["low"] < found["in_rate", LEAKY]["low"]
    for space in ("evaluator", "evaluator_robust", "target"):
        assert found["in_rate_p_value", space]["value"] > 0.01
        low, high = (found["in_rate_null", space][end] for end in ("low", "high"))
        assert low < 0.5 < high and 0.6 < found["in_rate_power", space]["value"] < 0.9
    assert "would have told" in found["in_rate", "evaluator"]["note"]
    assert found["in_rate_power", ""]["value"] == found["in_rate_power", LEAKY]["value"]


def test_membership_is_held_against_other_cuts(results: SuiteResults) -> None:
    found = rows(results, "m")
    assert found["membership_auc_p_value", ""]["value"] == pytest.approx(0.001)
    assert found["membership_auc_null", ""]["high"] < found["membership_auc", ""]["value"]
    assert 0.5 < found["membership_auc_power", ""]["value"] < 0.75


def test_the_paired_gap_is_over_images_that_one_of_a_pair_trained_on(results: SuiteResults) -> None:
    found = rows(results, "m")["paired_generalization_gap", ""]
    assert found["value"] == pytest.approx(0.5, abs=0.15) and found["low"] < found["value"] < found["high"]
    alone = rows(results, "alone")["paired_generalization_gap", ""]
    assert alone["value"] is None and "a pair is needed" in alone["note"]


def test_without_its_mate_the_cut_is_the_one_that_other_models_keep(results: SuiteResults) -> None:
    assert rows(results, "alone")["membership_auc_p_value", ""]["value"] <= 0.01


def test_a_cut_is_from_the_first_trials_that_tell_it_and_nothing_else_decides_it(results: SuiteResults) -> None:
    kept = {(done.stage, done.model, done.replica): done.content for done in results.done}
    known = [kept["pools", "", 0], kept["predict", "m", 0], kept["predict", "m", 1]]
    cuts = PairCuts(results)
    assert cuts.sources(["alone"]) == cuts.sources(["m", "untrained"]) == sorted(known)
    assert cuts.sources(["nobody"]) == []


def test_the_strongest_attack_of_all_pairs_is_that_attack_with_its_numbers(results: SuiteResults) -> None:
    cuts, trials = PairCuts(results), results.of("m", "infer_membership", "loss_threshold")
    found = list(model_rows(results, cuts, "m"))
    anew = list(_joined(results, cuts, "m", "infer_membership", STRONGEST, trials))
    place = {"stage": "infer_membership", "method": STRONGEST}
    strongest = [row for row in found if row.get("method") == STRONGEST]
    assert len(anew) > 5 and strongest == [{**row, **place, "note": row.get("note")} for row in anew]


def test_a_control_that_shows_members_is_found_by_re_cutting(results: SuiteResults) -> None:
    found = control_rows(results, PairCuts(results))
    passed = {row["space"]: row["value"] for _, row in found if row["metric"] == "passed"}
    assert passed == {"target": 1.0, "evaluator": 1.0, "evaluator_robust": 1.0, LEAKY: 0.0}


def test_results_without_neighbours_say_why_no_space_is_chosen(tmp_path: Path) -> None:
    board = Board(tmp_path / "results", ["m"])
    board.leaked("m", "gradient", [{("pixel", "in_rate"): [[1.0, 0.0]], ("evaluator", "in_rate"): [[1.0, 1.0]]}] * 2)
    store = board.finish()
    found = rows(SuiteResults(store, next(store.plans())), "m")
    assert found["in_rate", ""]["value"] == 1.0 and found["in_rate_p_value", ""]["value"] is None
    assert "not held against other cuts" in found["in_rate_power", ""]["note"]
