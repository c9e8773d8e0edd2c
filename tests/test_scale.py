"""A small version of what `perf.scale` measures: that it is right, not how long it takes."""

from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from command import snapshot

from benchmark.aggregation.page_tables import summarise
from benchmark.planning.check import Prepared, prepare
from benchmark.planning.plan import Plan
from benchmark.results.compaction import compact, num_loose
from benchmark.results.store import Store
from benchmark.running.run import select
from leaderboard.build import build
from perf import filling


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    path = tmp_path_factory.mktemp("scale") / "suite.yaml"
    path.write_text(yaml.safe_dump(filling.suite(144, 1)))
    return prepare(str(path), None, ())


@pytest.fixture(scope="module")
def store(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Store:
    made = Store(tmp_path_factory.mktemp("filled") / "results")
    made.writable()
    made.write_plan(prepared.plan, prepared.about)
    for node in {node.key: node for node in prepared.plan.nodes}.values():
        made.write(node.trial, filling.outcome(node), {**filling.MADE, "wall_s": 1.0})
    return made


def trained(plan: Plan) -> Counter[str]:
    return Counter(node.stage for node in plan.nodes if node.model.startswith("model-"))


def test_the_suite_has_the_trials_that_it_was_asked_for(prepared: Prepared) -> None:
    replicas = 2 * filling.REPLICAS
    assert trained(prepared.plan) == {
        "train": replicas, "predict": replicas, "probe": replicas, "query": replicas, "evade": 10 * replicas,
        "infer_membership": replicas,
        "invert": replicas, "neighbours": replicas, "leakage": replicas, "memorization": replicas // filling.REPLICAS,
    }  # fmt: skip
    a_model = 27 * filling.REPLICAS
    assert 0 <= 100_000 - len(filling.suite(100_000)["models"]) * a_model < a_model


@pytest.mark.slow
def test_a_filled_store_has_nothing_left_to_run_loose_or_compact(prepared: Prepared, store: Store) -> None:
    keys = {node.key for node in prepared.plan.nodes}
    loose = store.finished(keys)
    for _ in range(2):
        done, problems = store.scan()
        assert done == keys and not problems
        assert select(prepared.plan, done, store.failures(), "missing") == set()
        assert store.finished(keys) == loose
        compact(store)
    assert num_loose(store) == 0


@pytest.mark.slow
def test_its_page_counts_every_row_and_is_the_same_without_the_index(store: Store, tmp_path: Path) -> None:
    sites = [tmp_path / "compact", tmp_path / "loose"]
    for site in sites:
        summarise(store, site)
        build(site)
        for kept in Path(store.root).glob("index/*"):
            kept.unlink()
    assert snapshot(sites[0]) == snapshot(sites[1])
    results = pq.read_table(sites[0] / "results.parquet").to_pylist()
    own = [row for row in results if row["model"] == "model-0000" and row["replica"] == 0]
    # train, predict, evade, invert, leakage and infer_membership of one replica
    assert len(own) == 11 + 4 + 10 * 4 + 3 + (30 + 12) + 4
    assert sum(row["model"] == "model-0001" and row["replica"] is not None for row in results) == 4 * len(own)
