"""Several drivers on one store: every trial is computed once, and what a killed driver held is taken over."""

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import command
import pytest
import toy

from benchmark.results.store import Store
from benchmark.running import heartbeat, leases
from benchmark.running.executors.worker import run_trial
from benchmark.running.heartbeat import Heartbeat, driver
from benchmark.running.leases import Leases
from benchmark.running.run import run
from benchmark.storage import Storage
from benchmark.storage.folder import Folder

KEY = "a" * 64
DRIVER = command.HELPERS / "counting_driver.py"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def alive(storage: Storage, name: str, age_s: float = 0.0) -> None:
    content = {"record": "running", "pid": 1, "time": time.time() - age_s, "trials": []}
    storage.write(f"running/{name}.json", json.dumps(content).encode())


def test_one_driver_holds_a_trial_until_it_gives_it_back(folder: Folder) -> None:
    first, second = Leases(folder, "there-1"), Leases(folder, "there-2")
    alive(folder, "there-1")
    assert first.take(KEY) and not second.take(KEY)
    assert first.take(KEY), "again, after its worker was lost"
    second.release(KEY)
    assert not second.take(KEY), "what is not its own it cannot give back"
    first.release(KEY)
    assert second.take(KEY)


def test_a_lease_ends_with_its_driver(folder: Folder) -> None:
    first, second = Leases(folder, "there-1"), Leases(folder, "there-2")
    alive(folder, "there-1", heartbeat.STALE_S - 5)
    assert first.take(KEY) and not second.take(KEY)
    alive(folder, "there-1", heartbeat.STALE_S + 1)
    assert second.take(KEY)
    first.release(KEY)
    alive(folder, "there-2")
    assert not Leases(folder, "there-3").take(KEY)


def test_a_driver_killed_on_this_machine_is_dead_at_once(folder: Folder) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    name = f"{heartbeat.machine()}-{gone.pid}"
    alive(folder, name)
    assert not heartbeat.alive(folder, name) and heartbeat.running(folder) == []
    assert Leases(folder, name).take(KEY) and Leases(folder, "there-2").take(KEY)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"driver": "../../etc"}', b"\xff", b'{"driver": 3}'])
def test_a_lease_that_nobody_wrote_is_taken_over(folder: Folder, content: bytes) -> None:
    folder.write(f"leases/{KEY}.json", content)
    assert Leases(folder, "there-1").take(KEY)


def test_of_many_that_take_over_one_does(folder: Folder) -> None:
    assert Leases(folder, "dead-1").take(KEY)
    took: list[str] = []
    names = [f"there-{i}" for i in range(8)]
    for name in names:
        alive(folder, name)
    start = threading.Barrier(len(names))

    def take(name: str) -> None:
        start.wait()
        if Leases(folder, name).take(KEY):
            took.append(name)

    threads = [threading.Thread(target=take, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(took) == 1


def test_a_worker_leaves_alone_what_runs_elsewhere_or_is_done(tmp_path: Path) -> None:
    store = Store(tmp_path)
    trial = toy.node("add", value=1.0).trial
    alive(store.storage, "there-1")
    assert Leases(store.storage, "there-1").take(trial.key)
    settings = toy.settings(store, driver="there-2")
    assert run_trial(trial, settings).elsewhere == "running" and not store.has(trial.key)
    Leases(store.storage, "there-1").release(trial.key)
    assert run_trial(trial, settings).ok and store.has(trial.key)
    before = store.provenance(trial.key)
    assert run_trial(trial, settings).elsewhere == "done" and store.provenance(trial.key) == before
    assert not run_trial(trial, toy.settings(store, driver="there-2", again=True)).elsewhere
    assert store.provenance(trial.key) != before
    assert list((tmp_path / "leases").iterdir()) == []


@pytest.mark.slow
def test_a_run_waits_for_what_another_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.running.schedule.LOOK_AGAIN_S", 0.2)
    store, plan = Store(tmp_path), toy.diamonds(1)
    root = plan.nodes[0]
    alive(store.storage, "there-1")
    other = Leases(store.storage, "there-1")
    assert other.take(root.key)

    def finish() -> None:
        run_trial(root.trial, toy.settings(store, driver="there-1"))

    timer = threading.Timer(1.0, finish)
    timer.start()
    report = run(plan, store, toy.Inline, toy.settings(store))
    timer.join()
    assert (report.num_done, report.num_cached, report.num_executed) == (4, 1, 3)


@pytest.mark.slow
@pytest.mark.parametrize("kill", [False, True])
def test_two_drivers_compute_everything_once(tmp_path: Path, kill: bool) -> None:
    count = tmp_path / "count"
    command = [sys.executable, DRIVER, tmp_path / "results", count, "0.3"]
    environment = {**os.environ, "PYTHONPATH": f"{DRIVER.parent}:{DRIVER.parent.parent}"}
    drivers = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    if kill:
        while not count.exists() or len(count.read_text().split()) < 6:
            time.sleep(0.05)
        drivers[0].kill()
    said = [process.communicate(timeout=120)[0] for process in drivers]
    plan = toy.counted(count, 0.3)
    store = Store(tmp_path / "results")
    assert all(store.has(node.key) for node in plan.nodes)
    times = Counter(count.read_text().split())
    assert times.keys() == {node.key for node in plan.nodes}
    if kill:  # what it was in the middle of is begun again, by the other
        assert sum(times.values()) <= len(plan.nodes) + 2
    else:
        assert set(times.values()) == {1}
        assert sum(int(line) for line in said) == len(plan.nodes), said
    assert leases.Leases(store.storage, driver()).take(plan.nodes[0].key)
    assert [path.name for path in (tmp_path / "results" / "leases").iterdir()] == [f"{plan.nodes[0].key}.json"] or kill


def test_a_busy_driver_stays_alive(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "_PERIOD_S", 0.05)
    with Heartbeat(folder):
        first = json.loads(folder.read(f"running/{driver()}.json"))["time"]
        time.sleep(0.5)
        assert json.loads(folder.read(f"running/{driver()}.json"))["time"] > first
    assert not heartbeat.alive(folder, driver())
