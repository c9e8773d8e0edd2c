"""What the store keeps beside results: why trials failed, and which trials a suite has."""

from pathlib import Path

import pytest
from toy import HOSTILE_NODE as NODE
from toy import HOSTILE_PLAN as PLAN

from benchmark.planning.plan import Plan
from benchmark.results.store import Store
from benchmark.trials.trial import Trial

ABOUT = {
    "yaml": "a: 1\n",
    "path": "suite.yaml",
    "data": "a card",
    "replicas": 2,
    "models": [{"name": "m", "architecture": "a", "regime": "r", "train_norm": None, "train_epsilon": None}],
    "evasion": [{"label": "pgd", "kind": "pgd", "norm": "linf", "epsilon": 0.1}],
    "inversion": ["gradient"],
    "membership": ["loss_threshold"],
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def test_failures_are_kept_beside_results(store: Store) -> None:
    assert store.failures() == {}
    store.write_failure(NODE, "Traceback: it broke", 3)
    failure = store.failures()[NODE.key]
    assert (failure["traceback"], failure["attempts"], failure["model"]) == ("Traceback: it broke", 3, NODE.model)
    assert not store.has(NODE.key) and store.keys() == []
    store.clear_failure(NODE.key)
    store.clear_failure(NODE.key)
    assert store.failures() == {}


def test_plans_are_kept_a_suite_each(store: Store) -> None:
    store.write_plan(PLAN, ABOUT)
    store.write_plan(PLAN, {**ABOUT, "yaml": "a: 2\n"})
    store.write_plan(Plan("other", "e" * 64, ()), ABOUT)
    plans = {plan["suite"]: plan for plan in store.plans()}
    assert plans.keys() == {"../<b>", "other"}
    assert plans["../<b>"]["about"] == {**ABOUT, "yaml": "a: 2\n"} and plans["../<b>"]["suite_hash"] == "d" * 64
    (node,) = plans["../<b>"]["nodes"]
    assert Trial.from_json(node["trial"]).key == node["key"] == NODE.key
    assert (node["stage"], node["replica"], node["cost"]) == ("evade", 1, 2.5)
    assert len(list((store.root / "plans").iterdir())) == 2


@pytest.mark.parametrize("kind", ["plans", "failures"])
@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b"\xff\xfe"])
def test_a_foreign_record_is_reported_and_not_read(store: Store, kind: str, content: bytes) -> None:
    path = store.root / kind / "x.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert [problem.name for problem in store.check()] == [f"{kind}/x.json"]
    assert list(store.plans()) == [] and store.failures() == {}
