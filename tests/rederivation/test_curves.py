"""The tiny run with curves and corruptions: joined over replicas, on the page, and derived again from raw output."""

import shutil
from pathlib import Path
from typing import Any

import command
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmark.rederivation.verdict import verdict
from benchmark.results.store import Store

ASKED = (
    ("curves", {"linf": [0.02, 0.05, 0.1], "l2": [0.25, "1/2", 1], "steps": 10, "num_images": 60}),
    ("corruptions", {"names": ["gaussian_noise", "contrast"], "severities": [1, 5], "num_images": 40}),
)
METRICS = ("robust_accuracy_at", "median_smallest_perturbation", "corruption_accuracy", "mean_corruption_accuracy")
pytestmark = pytest.mark.slow(30)


@pytest.fixture(scope="module")
def asked(tiny_run: command.Run, tmp_path_factory: pytest.TempPathFactory) -> command.Run:
    """What the tiny run has is there already: eight trials are left."""
    folder = tmp_path_factory.mktemp("curves")
    shutil.copytree(tiny_run.results, folder / "results")
    suite = command.write(folder, command.tiny(*ASKED))
    places = ("--results", folder / "results", "--site", folder / "site")
    done = command.bench("run", suite, *command.ONE, *places)
    assert done.returncode == 0 and "8 trials run, 87 there before, 0 failed" in done.stdout, done.stdout + done.stderr
    return command.Run(folder / "results", folder / "site", done.stdout, done.stderr)


def rows(asked: command.Run, metric: str, **labels: Any) -> list[dict[str, Any]]:
    found = pq.read_table(asked.site / "results.parquet").to_pylist()
    return [row for row in found if row["metric"] == metric and all(row[k] == v for k, v in labels.items())]


def test_replicas_are_joined_in_every_space(asked: command.Run) -> None:
    for metric, spaces in zip(METRICS, (8, 2, 4, 1), strict=True):
        for model in ("softmax", "hardened"):
            whole = rows(asked, metric, model=model, replica=None)
            assert len(whole) == spaces and len({row["space"] for row in whole}) == spaces
            for row in whole:
                own = [
                    r["value"] for r in rows(asked, metric, model=model, space=row["space"]) if r["replica"] is not None
                ]
                assert len(own) == 2 and row["value"] == pytest.approx(sum(own) / 2)
                assert row["low"] <= row["value"] <= row["high"] and row["low"] < row["high"]


def test_the_curve_is_not_above_the_attacks(asked: command.Run) -> None:
    """At the radius of the primary attack, on the first 60 of its 100 images."""
    store = Store(asked.results)
    (plan,) = [plan for plan in store.plans() if any(node["stage"] == "corrupt" for node in plan["nodes"])]
    for node in plan["nodes"]:
        if node["stage"] != "robustness_curve":
            continue
        (row,) = [row for row in store.rows(node["key"]).to_pylist() if row["space"] == "l2 0.5"]
        evaded = [key for role, key in node["trial"]["inputs"].items() if role.startswith("evade_")]
        assert len(evaded) == 2
        for key in evaded:
            assert row["value"] <= float(store.tensors(key)["test_robust"][:60].double().mean())


def test_every_number_follows_from_raw_output(asked: command.Run, tmp_path: Path) -> None:
    lines = {line.metric: line for line in verdict(Store(asked.results), asked.site)}
    for metric in (*METRICS, "distance above an attack's"):
        assert lines[metric].num_checked and lines[metric].holds and not lines[metric].unchecked, lines[metric]
    site = shutil.copytree(asked.site, tmp_path / "site")
    table = pq.read_table(site / "results.parquet")
    changed = [
        row | ({"value": row["value"] + 0.01} if row["metric"] in METRICS and row["replica"] is None else {})
        for row in table.to_pylist()
    ]
    pq.write_table(pa.Table.from_pylist(changed, schema=table.schema), site / "results.parquet")
    lines = {line.metric: line for line in verdict(Store(asked.results), site)}
    assert not any(lines[metric].holds for metric in METRICS)


def test_verify_and_the_page(asked: command.Run) -> None:
    done = command.call("verify", "--results", asked.results)
    assert done.exit_code == 0 and "robust_accuracy_at" in done.output
    index = (asked.site / "index.html").read_text()
    assert index.count('class="band series-1"') == 2 and "Robust accuracy against epsilon" in index
    board = {row["model"]: row for row in pq.read_table(asked.site / "leaderboard.parquet").to_pylist()}
    assert all(0 < board[model]["mean_corruption_accuracy_low"] < 1 for model in ("softmax", "hardened"))
