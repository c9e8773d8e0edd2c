"""What a run has seen whole, the next one does not open again; what has changed since, it does."""

import hashlib
import os
from pathlib import Path

import pytest
import toy
from looking import DAMAGES, damaged, reads

from benchmark.planning.plan import Plan
from benchmark.results import scan_cache
from benchmark.results.compaction import compact
from benchmark.results.scan_cache import Seen
from benchmark.results.store import Store
from benchmark.running.run import run
from benchmark.running.schedule import Event

PLAN = toy.diamonds(4)
KEYS = {node.key for node in PLAN.nodes}


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_cache, "MANY", 3)


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(request.getfixturevalue("s3_url") if request.param == "bucket" else tmp_path / "results")


class Killed(BaseException):
    """Ends a run as nothing of it expects."""


def start(store: Store, plan: Plan = PLAN, kill_after: int = 99) -> list[str]:
    """Run a plan; keys of the trials that were computed."""
    computed: list[str] = []

    def told(event: Event) -> None:
        if event.kind == "finished" and event.node is not None:
            computed.append(event.node.key)
            if len(computed) == kill_after:
                raise Killed

    run(plan, store, toy.Inline, toy.settings(store), on_event=told)
    return computed


def opened(store: Store, monkeypatch: pytest.MonkeyPatch) -> tuple[set[str], set[str]]:
    """(trials that are finished, those of which a scan opens a file)."""
    with monkeypatch.context() as patch:
        names = reads(store, patch)
        done, problems = store.scan()
    assert problems == []
    return done, {name.split("/")[2] for name in names if name.startswith("trials/")}


def files(store: Store) -> list[str]:
    return sorted(name for name in store.storage.tree("index", 1) if name.endswith(".seen"))


@pytest.mark.slow
def test_after_a_kill_all_but_the_last_few_stay_closed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Killed):
        start(store, kill_after=8)
    assert len(files(store)) == 2, "three trials each; two are in none"
    done, looked = opened(store, monkeypatch)
    assert len(done) == 8 and len(looked) == 2
    assert set(start(store)) == KEYS - done
    done, looked = opened(store, monkeypatch)
    assert done == KEYS and len(looked) < 3


@pytest.mark.slow
def test_files_become_one_at_the_next_run_and_none_with_the_index(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(store)
    assert len(files(store)) == len(KEYS) // 3
    assert start(store) == [] and len(files(store)) == 1
    (one,) = files(store)
    assert opened(store, monkeypatch) == (KEYS, set())
    assert start(store) == [] and files(store) == [one]
    compact(store)
    assert files(store) == [] and opened(store, monkeypatch) == (KEYS, set())


@pytest.mark.slow
def test_what_a_run_had_to_look_at_the_next_need_not(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    start(store)
    for name in files(store):
        store.storage.remove(f"index/{name}")
    assert opened(store, monkeypatch) == (KEYS, KEYS)
    assert start(store) == [] and opened(store, monkeypatch) == (KEYS, set())


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_since_is_found(tmp_path: Path, damage: str) -> None:
    store, key = Store(tmp_path / "results"), PLAN.nodes[0].key
    start(store)
    start(store)
    damaged(store, key, damage)
    done, (problem,) = store.scan()
    assert problem.name.startswith(f"trials/{key[:2]}/{key}") and (key in done) == (damage == "foreign")
    assert start(store) == ([] if damage == "foreign" else [key])


def test_a_copy_with_other_times_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "results")
    start(store)
    start(store)
    for path in (tmp_path / "results" / "trials").rglob("*.*"):
        os.utime(path, (1, 1))
    assert opened(store, monkeypatch) == (KEYS, KEYS)


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"nothing", b"\0" * 48])
def test_a_damaged_file_is_a_problem_in_one_line_and_nothing_else(store: Store, content: bytes) -> None:
    start(store)
    start(store)
    (name,) = files(store)
    store.storage.write(f"index/{name}", content)
    done, (problem,) = store.scan()
    assert done == KEYS and problem.name == f"index/{name}" and "\n" not in problem.reason and not problem.key
    assert start(store) == [], "it is set aside"
    assert store.check() == []


def test_of_another_size_nothing_is_believed(tmp_path: Path) -> None:
    store, content = Store(tmp_path), b"too short"
    store.storage.write(f"index/{hashlib.sha256(content).hexdigest()[:16]}.seen", content)
    assert len(Seen(store.storage).problems) == 1


def test_a_full_disk_ends_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "results")
    write = store.storage.write

    tried = []

    def full(name: str, content: bytes) -> None:
        if name.startswith("index/"):
            tried.append(name)
            raise OSError(28, "the disk is full")
        write(name, content)

    monkeypatch.setattr(store.storage, "write", full)
    assert set(start(store)) == KEYS and len(tried) == len(KEYS) // 3, "once a file, not once a trial"
    assert start(store) == []
