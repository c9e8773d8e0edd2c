"""`kill -9` of the driver at any moment: no orphan, no half result, and a rerun ends as if nothing had been."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import toy

from benchmark.run import run
from benchmark.store import Store

# Ray's own agents may look for their server for up to a minute before they leave; they run no trial.
AGENTS = ("", "ray::DashboardAgent", "ray::RuntimeEnvAgent")
DRIVER = Path(__file__).parents[1] / "toy_driver.py"


def descendants(mark: str) -> list[int]:
    """Processes that inherited the variable TOY_RUN=mark, the driver included."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables, state = (folder / "environ").read_bytes(), (folder / "stat").read_text().rpartition(")")[2]
        except OSError:  # it has just left
            continue
        if f"TOY_RUN={mark}".encode() in variables.split(b"\0") and state.split()[0] != "Z":
            found.append(int(folder.name))
    return found


def until(seconds: float) -> Iterator[None]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
        time.sleep(0.02)


def title(pid: int) -> str:
    with contextlib.suppress(OSError):  # it has just left
        return (Path("/proc") / str(pid) / "cmdline").read_text().replace("\0", " ").strip()
    return ""


def kill_after(executor: str, root: Path, num_done: int) -> None:
    """Start a run, kill its driver when it has `num_done` results and is at work, see all of it leave."""
    mark, store = uuid.uuid4().hex, Store(root)
    driver = subprocess.Popen([sys.executable, DRIVER, executor, root], env={**os.environ, "TOY_RUN": mark})
    for _ in until(60):
        if driver.poll() is not None or (len(store.keys()) >= num_done and len(descendants(mark)) >= 2):
            break
    assert driver.poll() is None, "the run ended before it could be killed"
    time.sleep(0.05)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    for _ in until(20):
        if all(title(pid) in AGENTS for pid in descendants(mark)):
            break
    left = {pid: title(pid) for pid in descendants(mark)}
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert not set(left.values()) - set(AGENTS), f"outlived the driver: {left}"


def finish_and_compare(root: Path, num_done: int) -> None:
    store, undisturbed = Store(root), Store(root.with_name("undisturbed"))
    plan = toy.diamonds(3, seconds=0.2)
    assert store.check() == [], "a kill is nothing foreign"
    report = run(plan, store, toy.Inline, toy.settings(store))
    assert num_done <= report.num_cached < 10 and report.num_done == 10 and report.num_failed == 0
    run(plan, undisturbed, toy.Inline, toy.settings(undisturbed))
    assert toy.content(store) == toy.content(undisturbed)


@pytest.mark.parametrize("num_done", [0, 4])
def test_kill_the_driver_of_local_workers(tmp_path: Path, num_done: int) -> None:
    kill_after("local", tmp_path / "results", num_done)
    finish_and_compare(tmp_path / "results", num_done)


@pytest.mark.ray
def test_kill_the_driver_of_ray(tmp_path: Path) -> None:
    kill_after("ray", tmp_path / "results", 3)
    finish_and_compare(tmp_path / "results", 3)
