"""`kill -9` of the driver at any moment: no orphan, no half result, and a rerun ends as if nothing had been."""

import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import command
import pytest
import toy
from processes import all_left, descendants, marked, until

from benchmark.results.store import Store
from benchmark.running.run import run

DRIVER = command.HELPERS / "toy_driver.py"


def kill_after(executor: str, root: Path, num_done: int) -> None:
    """Start a run, kill its driver when it has `num_done` results and is at work, see all of it leave."""
    mark, store = uuid.uuid4().hex, Store(root)
    driver = subprocess.Popen([sys.executable, DRIVER, executor, root], env=marked(mark))
    for _ in until(60):
        if driver.poll() is not None or (len(store.keys()) >= num_done and len(descendants(mark)) >= 2):
            break
    assert driver.poll() is None, "the run ended before it could be killed"
    time.sleep(0.05)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    all_left(mark)


def finish_and_compare(root: Path, num_done: int) -> None:
    store, undisturbed = Store(root), Store(root.with_name("undisturbed"))
    plan = toy.diamonds(3, seconds=0.2)
    assert store.check() == [], "a kill is nothing foreign"
    report = run(plan, store, toy.Inline, toy.settings(store))
    assert num_done <= report.num_cached < 10 and report.num_done == 10 and report.num_failed == 0
    run(plan, undisturbed, toy.Inline, toy.settings(undisturbed))
    assert toy.content(store) == toy.content(undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("num_done", [0, 4])
def test_kill_the_driver_of_local_workers(tmp_path: Path, num_done: int) -> None:
    kill_after("local", tmp_path / "results", num_done)
    finish_and_compare(tmp_path / "results", num_done)


@pytest.mark.ray
def test_kill_the_driver_of_ray(tmp_path: Path) -> None:
    kill_after("ray", tmp_path / "results", 3)
    finish_and_compare(tmp_path / "results", 3)
