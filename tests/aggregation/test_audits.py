"""What is published of an audit in one run, and the control that it is for private trainings."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from board import Board

from benchmark.aggregation import audits
from benchmark.aggregation.suite_results import SuiteResults
from benchmark.metrics import STRONGEST
from benchmark.stats.audit import epsilon_lower_bound
from benchmark.trials.trial import Row

LOSS = "loss_threshold"


def told(member: np.ndarray, share: float, seed: int = 0) -> pa.Table:
    """Scores of one class of images, that are right of this share of them."""
    rng = np.random.default_rng(seed)
    count = len(member)
    scores = np.where(rng.random(count) < share, member, ~member).astype(float) + 0.01 * rng.random(count)
    everything = {"image_id": np.arange(count), "label": np.zeros(count, np.int64), "group": np.arange(count)}
    return pa.table({**everything, "score": scores, "is_member": member, "judged": np.ones(count, dtype=bool)})


def board(root: Path, share: float, proven: float | None, stage: str = "train") -> SuiteResults:
    """Two replicas that are complements."""
    made = Board(root, ["m"])
    member = np.random.default_rng(1).permutation(np.arange(400) % 2 == 0)
    rows = [Row(metric="num_trained_on", value=200.0, n=200)]
    if proven is not None:
        rows += [Row(metric="proven_epsilon_substitution", value=proven), Row(metric="proven_delta", value=1e-6)]
        rows += [Row(metric="proven_epsilon", value=proven / 2)]
    for replica, own in enumerate((member, ~member)):
        made.add(stage, "m", replica, rows)
        scored = [Row(metric="membership_auc", value=0.5, n=400)]
        made.add("infer_membership", "m", replica, scored, LOSS, scores=told(own, share, replica))
    made.finish()
    (manifest,) = made.store.plans()
    return SuiteResults(made.store, manifest)


def audited(results: SuiteResults) -> Row:
    (row,) = audits.rows(results, "m", results.of("m", "infer_membership", LOSS))
    return {**row, "method": STRONGEST}


def test_every_replica_is_an_audit_by_itself(tmp_path: Path) -> None:
    row = audited(board(tmp_path, 1.0, None))
    assert row["metric"] == "empirical_epsilon" and row["n"] == 200
    assert row["value"] == pytest.approx(epsilon_lower_bound(200, 200, 200, 0.0, 1 - 0.05 / 6))
    assert row["note"] == "200 of 200 guesses right, of 200 pairs; delta 0"


def test_noise_and_declared_members_tell_nothing(tmp_path: Path) -> None:
    row = audited(board(tmp_path / "noise", 0.5, None))
    assert row["value"] == 0
    row = audited(board(tmp_path / "given", 1.0, None, "import"))
    assert row["value"] is None and row["note"] == audits.DECLARED


@pytest.mark.parametrize(("proven", "passed"), [(1.0, 0.0), (20.0, 1.0)])
def test_a_private_training_that_leaks_more_than_it_proves_fails_its_control(
    tmp_path: Path, proven: float, passed: float
) -> None:
    results = board(tmp_path, 1.0, proven)
    rows = [audited(results), Row(metric="proven_epsilon_substitution", method="", value=proven)]
    assert "delta 1e-06" in str(rows[0]["note"])
    assert rows[0]["value"] is not None and 1 < rows[0]["value"] < 4
    ((model, row),) = audits.control_rows("m", rows)
    assert (model, row["stage"], row["method"], row["metric"]) == ("m", "control", "audit", "passed")
    assert row["value"] == passed
    assert not list(audits.unproven(results, "m"))


def test_a_training_without_noise_has_no_control_and_says_why(tmp_path: Path) -> None:
    results = board(tmp_path, 1.0, None)
    assert audits.control_rows("m", [audited(results)]) == []
    (row,) = audits.unproven(results, "m")
    assert (
        row["metric"] == "proven_epsilon" and row["value"] is None and "not differentially private" in str(row["note"])
    )
