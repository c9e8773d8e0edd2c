"""Results of an older version of a method are called so, wherever trials are missing that they would have been."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import command
import pytest
from command import call

from benchmark import registry
from benchmark.aggregation.suite_results import SuiteResults
from benchmark.evasion.pgd import PGD
from benchmark.live import standing
from benchmark.planning.check import prepare
from benchmark.planning.plan import Plan
from benchmark.regimes.standard import Standard
from benchmark.results.older_versions import current_version, older, outdated, sentence
from benchmark.results.plan_record import pack, unpack
from benchmark.results.store import Store

PGD_SAID = "results of version 1 of pgd are there; this is version 2: run it again"


def planned() -> Plan:
    return prepare(str(command.TINY), None, ()).plan


def record(plan: Plan, **about: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(pack(plan, about))
    return found


def everything(_: str) -> bool:
    return True


@pytest.fixture(scope="module")
def first() -> Plan:
    return planned()


def test_a_method_of_a_newer_version_is_named(first: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    assert older(first, record(first), everything) == []
    monkeypatch.setattr(PGD, "VERSION", 2)
    second = planned()
    found = older(second, record(first), everything)
    assert {sentence(line) for line in found} == {PGD_SAID}
    assert {line["stage"] for line in found} == {"evade"} and all(line["label"].startswith("pgd") for line in found)
    assert older(second, record(first), lambda _: False) == [], "without results there is nothing to tell"
    # What was told stays told while the results are being made again.
    assert older(second, record(second, older=found), everything) == found
    monkeypatch.setattr(PGD, "VERSION", 1)
    assert older(planned(), record(second), everything) == [], "the results of a newer version are no older ones"


def test_what_a_training_changes_is_said_of_all_that_follows(first: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Standard, "VERSION", 3)
    second = planned()
    found = older(second, record(first), everything)
    assert {(line["stage"], line["method"], line["now"]) for line in found} == {("train", "standard", 3)}
    nothing = SimpleNamespace(failures=dict, finished=lambda *_: {}, root="results")
    about = {"older": found, "prices": None}
    results = SuiteResults(nothing, unpack(record(second) | {"about": about}))  # type: ignore[arg-type]
    said = "not run yet; results of version 1 of standard are there; this is version 3: run it again"
    model = next(node.model for node in second.nodes if node.model)
    for stage, method in (("predict", ""), ("leakage", "gradient")):
        assert results.why_missing(model, stage, method) == said
    assert said.partition("; ")[2] in [str(line) for line in standing(results)]


def test_an_attack_is_said_of_its_own_cells_alone(first: Plan) -> None:
    label = next(node.method for node in first.nodes if node.stage == "evade")
    line = {"stage": "evade", "label": label, "method": "pgd", "version": 1, "now": 2}
    nothing = SimpleNamespace(failures=dict, finished=lambda *_: {}, root="results")
    results = SuiteResults(nothing, unpack(record(first) | {"about": {"older": [line]}}))  # type: ignore[arg-type]
    model = next(node.model for node in first.nodes if node.model)
    assert results.why_missing(model, "evade", label) == f"not run yet; {PGD_SAID}"
    assert results.why_missing(model, "leakage", "gradient") == "not run yet"


def test_the_plan_says_so(first: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(str(tmp_path / "results"))
    store.writable()
    store.write_plan(first, prepare(str(command.TINY), None, ()).about)
    monkeypatch.setattr(Store, "scan", lambda _: ({node.key for node in first.nodes}, []))
    monkeypatch.setattr(Store, "has", lambda *_: False)
    monkeypatch.setattr(PGD, "VERSION", 2)
    done = call("plan", command.TINY, "--results", tmp_path / "results")
    assert done.exit_code == 0 and PGD_SAID in done.stdout.splitlines()


def test_versions_are_read_from_the_files_as_they_are() -> None:
    """Importing a method loads torch, which a page does without; a VERSION must be a number in the class itself."""
    for kind, methods in registry.KINDS.items():
        for name, path in methods.items():
            if path.startswith("benchmark."):
                assert current_version(name) == registry.lookup(kind, name).VERSION, name
    assert current_version("a stranger's") is None


def test_a_page_of_older_results_than_the_code_says_so(first: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    stages = [dict(node.trial.stage) for node in first.nodes]
    assert outdated(stages) == []
    monkeypatch.setattr("benchmark.results.older_versions.current_version", {"pgd": 2, "leakage": 1}.get)
    said = "the results shown are of version 1 of pgd; the code here has version 2: run it again"
    assert outdated(stages) == [said]
    deep: object = {"method": "pgd", "version": 1}
    for _ in range(900):
        deep = [deep]
    assert outdated([None, 3, deep]) == []
    done = {key: SimpleNamespace(rows=(), made={}, content="") for key in (node.key for node in first.nodes)}
    nothing = SimpleNamespace(failures=dict, finished=lambda *_: done)
    results = SuiteResults(nothing, unpack(record(first)))  # type: ignore[arg-type]
    assert results.outdated == outdated(stages)


HOSTILE = [
    {},
    {"stages": [[]], "keys": ["k"], "trials": {"stage": [0]}, "about": {}},
    {"stages": [{"method": "evade", "version": "1"}], "keys": [3], "trials": {"stage": ["x"]}, "about": {}},
    {"stages": 3, "keys": 4, "trials": 5, "about": 6},
    {"stages": [], "keys": [], "trials": {"stage": []}, "about": {"older": [3]}},
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_records_of_strangers_tell_nothing(hostile: dict[str, Any], first: Plan) -> None:
    assert older(first, hostile, everything) == []


def test_no_last_plan_and_a_damaged_one(first: Plan, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "results"))
    assert store.last_plan(first.suite) == {}
    store.writable()
    store.write_plan(first, {})
    assert store.last_plan(first.suite) == {}, "its `about` is no suite's"
    (path,) = (tmp_path / "results" / "plans").iterdir()
    path.write_bytes(b"{")
    assert store.last_plan(first.suite) == {}
