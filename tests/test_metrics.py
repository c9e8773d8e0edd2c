"""The table of metrics: sound entries, and one entry is enough for columns, intervals, the page and the docs."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow.parquet as pq
import pytest

from benchmark import schema
from benchmark.metrics import CONSTRUCTS, METRICS, STAGES, Join, Metric
from leaderboard.columns import COLUMNS

ROOT = Path(__file__).parents[1]
CSV = """suite model architecture regime train_norm train_epsilon num_replicas num_members
clean_accuracy* robust_accuracy* eval_norm eval_epsilon masking_suspected
best_known_robust_accuracy* attack_gap* mean_corruption_accuracy*
generalization_gap* paired_generalization_gap* robust_generalization_gap*
primary_inversion evaluator_accuracy* target_confidence diversity knn_distance* class_mean_correlation*
cosine_nn_in cosine_nn_out neighbour_purity_at_k in_rate* in_rate_p_value in_rate_power
in_rate_evaluator* in_rate_evaluator_robust* in_rate_target* in_rate_pixel* exposure_gini
membership_auc* membership_auc_p_value tpr_at_1pct_fpr* tpr_at_0_1pct_fpr* empirical_epsilon proven_epsilon
controls_passed pareto pareto_note wall_s gpu_s gpu_hours cost currency checkpoint git_commit suite_hash created_utc"""
PAGE = """clean_accuracy robust_accuracy best_known_robust_accuracy mean_corruption_accuracy attack_gap
eval_norm eval_epsilon
evaluator_accuracy target_confidence diversity knn_distance class_mean_correlation
in_rate in_rate_p_value in_rate_power in_rate_evaluator in_rate_evaluator_robust in_rate_target in_rate_pixel
cosine_nn_in cosine_nn_out neighbour_purity_at_k exposure_gini
membership_auc membership_auc_p_value tpr_at_1pct_fpr tpr_at_0_1pct_fpr empirical_epsilon proven_epsilon
generalization_gap paired_generalization_gap robust_generalization_gap
architecture regime train_norm train_epsilon num_members num_replicas
primary_inversion wall_s gpu_s gpu_hours cost created_utc"""


def test_columns_keep_their_order() -> None:
    columns: list[str] = []
    for name in CSV.split():
        bare = name.rstrip("*")
        columns += [bare, f"{bare}_low", f"{bare}_high"] if name.endswith("*") else [bare]
    assert schema.LEADERBOARD.names == columns
    assert [column.name for column in COLUMNS] == PAGE.split()


@pytest.mark.parametrize("metric", METRICS, ids=[metric.name for metric in METRICS])
def test_an_entry_is_sound(metric: Metric) -> None:
    assert metric.construct in CONSTRUCTS and metric.better in ("", "up", "down") and metric.unit in ("", "%")
    assert metric.meaning and "\n" not in metric.meaning and metric.stage in STAGES
    assert not metric.interval or (metric.column and metric.join.interval), "this join gives no interval"
    same = [other for other in METRICS if other.metric == metric.metric]
    assert {(other.stage, other.join, other.of, other.function) for other in same} == {
        (metric.stage, metric.join, metric.of, metric.function)
    }
    names = {other.metric for other in METRICS if other.stage == metric.stage}
    assert set(metric.of) <= names
    assert metric.join is not Join.DIFFERENCE or len(metric.of) == 2
    assert bool(metric.function) or metric.join is not Join.SCORES
    assert not metric.function or callable(metric.load())


def test_names_are_there_once() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    shorts = [metric.short for metric in METRICS if metric.short]
    assert len(set(shorts)) == len(shorts) and all(metric.column for metric in METRICS if metric.short)


def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "docs" / "make_reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_in_the_docs_is_up_to_date() -> None:
    page = (ROOT / "docs" / "METRICS.md").read_text(encoding="utf-8")
    assert reference().written(page) == page, "run: python docs/make_reference.py"
    with pytest.raises(ValueError, match="once each"):
        reference().written("no marks")


@pytest.fixture(scope="module")
def added(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site made with more entries in the table, and nothing else changed."""
    folder = tmp_path_factory.mktemp("added")
    helpers = ROOT / "tests" / "helpers"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(helpers)])}
    subprocess.run([sys.executable, helpers / "one_entry.py", folder], check=True, env=env)
    return folder / "site"


def test_one_entry_is_a_column_with_an_interval(added: Path) -> None:
    rows: dict[str, dict[str, Any]] = {
        row["model"]: row for row in pq.read_table(added / "leaderboard.parquet").to_pylist()
    }
    measured = rows["m"]
    # Gaps 0, 0.2, 0.4, 0.2 and four zeros; three of the eight above 0.1.
    assert measured["memorization_gap"] == pytest.approx(0.1) and measured["far_share"] == pytest.approx(3 / 8)
    for name in ("memorization_gap", "far_share"):
        assert measured[f"{name}_low"] < measured[name] < measured[f"{name}_high"]
    # The highest score is a member's in one of the two replicas; ranks 1 + 2 and 3 + 4.
    assert [measured[f"highest{end}"] for end in ("", "_low", "_high")] == [0.5, 0.0, 1.0]
    assert measured["mean_rank"] == 2.5 and "mean_rank_low" not in measured
    assert rows["empty"]["far_share"] is None
    reasons = [row for row in pq.read_table(added / "results.parquet").to_pylist() if row["metric"] == "far_share"]
    assert [(row["model"], row["note"]) for row in reasons] == [("m", None), ("empty", "not run yet")]


def test_one_entry_is_a_column_of_the_page(added: Path) -> None:
    page = (added / "index.html").read_text(encoding="utf-8")
    for title, meaning in (
        ("gap to members", "nearer to members"),
        ("far share", "share of reconstructions with a memorization_gap above 0.1"),
    ):
        assert re.search(rf"<b>{title}</b> {meaning}", page)
    header = page[page.index('data-name="far_share"') :]
    assert 'data-construct="Train-specificity" data-better="down"' in header[:200]
    assert "37.5" in page, "a share, times 100"
    assert (added / "leaderboard.csv").read_text().splitlines()[0].count('"far_share') == 3


def test_one_entry_is_a_line_of_the_docs(monkeypatch: pytest.MonkeyPatch) -> None:
    made = reference()
    assert "far_share" not in made.reference()
    entry = Metric("far_share", "far", CONSTRUCTS[2], "above | 0.1", "leakage", Join.SAMPLE_RATE, better="down")
    monkeypatch.setattr(made, "METRICS", (*METRICS, entry))
    (line,) = [line for line in made.reference().splitlines() if "far_share" in line]
    assert line.startswith("| `far_share` | above \\| 0.1 |  | lower |") and line.endswith("|  |"), (
        "no interval, no rank"
    )
    assert not entry.ranked
