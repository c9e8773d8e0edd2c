"""Killed or stopped at any moment: what is done is kept, nothing is left running, a rerun ends as if undisturbed."""

import os
import signal
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

import command
import pytest
from command import Run, call, measured
from processes import all_left, descendants, marked, until

from benchmark.results.store import Store

ONLY = ("--only", "softmax")
NUM_TRIALS = 26


def start(executor: str, folder: Path, mark: str) -> "subprocess.Popen[str]":
    places = ("--results", folder / "results", "--site", folder / "site")
    arguments = [command.BENCH, "run", command.TINY, "--executor", executor, *ONLY, *places]
    return subprocess.Popen(
        arguments, env=marked(mark), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def wait_for(run: "subprocess.Popen[str]", results: Path, num_done: int, mark: str) -> None:
    """Until a run has so many results and workers."""
    for _ in until(90):
        if run.poll() is not None or (len(Store(results).keys()) >= num_done and len(descendants(mark)) >= 2):
            break
    assert run.poll() is None, "the run ended before it could be disturbed"


def kill(executor: str, folder: Path, num_done: int, meanwhile: Callable[[Path], None] | None = None) -> int:
    """`kill -9` of the driver alone; returns how many trials it has finished."""
    mark = uuid.uuid4().hex
    with start(executor, folder, mark) as run:
        wait_for(run, folder / "results", num_done, mark)
        if meanwhile is not None:
            meanwhile(folder)
        assert run.poll() is None, "the run was over too soon"
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        all_left(mark)
    store = Store(folder / "results")
    assert store.check() == [], "a kill leaves nothing foreign"
    return len(store.keys())


def look(folder: Path) -> None:
    """`bench status` and `bench leaderboard` in the middle of a run."""
    status = call("status", "--results", folder / "results")
    page = call("leaderboard", "--results", folder / "results", "--site", folder / "second site")
    assert status.exit_code == page.exit_code == 0, status.stderr + page.stderr
    assert "missing" in status.stdout and "  running " in status.stdout
    assert "suite tiny: most robust first" in page.stdout
    assert any("not run yet" in path.read_text() for path in (folder / "second site").rglob("*.html"))


@pytest.mark.ray
@pytest.mark.slow
def test_kill_9_of_the_driver_again_and_again(tmp_path: Path, tiny_run: Run) -> None:
    done = [kill("ray", tmp_path, 3)]
    call("status", "--results", tmp_path / "results")  # loads what it needs: the rest of the run takes seconds only
    done.append(kill("local", tmp_path, 8, look))
    assert done == sorted(done) and done[0] >= 3 and done[1] >= 8, "nothing that was finished is lost"
    with start("local", tmp_path, uuid.uuid4().hex) as run:
        output, errors = run.communicate()
    assert run.returncode == 0 and errors == "" and f"{done[1]} there before, 0 failed" in output
    found, undisturbed = measured(tmp_path / "results"), measured(tiny_run.results)
    assert len(found) == NUM_TRIALS and found == {key: undisturbed[key] for key in found}


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("executor", ["local", "ray"])
def test_ctrl_c_ends_cleanly_and_keeps_what_is_done(tmp_path: Path, tiny_run: Run, executor: str) -> None:
    mark = uuid.uuid4().hex
    with start(executor, tmp_path, mark) as run:
        wait_for(run, tmp_path / "results", 3, mark)
        os.killpg(run.pid, signal.SIGINT)  # a terminal sends it to the whole group
        output, errors = run.communicate(timeout=60)
        all_left(mark)
    assert (run.returncode, errors) == (130, "")
    last = output.splitlines()[-1]
    assert last.startswith("interrupted, run again to go on: ") and "0 failed" in last
    assert "page: file://" in output, "the page shows what there is"
    assert 3 <= len(Store(tmp_path / "results").keys()) < NUM_TRIALS
    undisturbed = measured(tiny_run.results)
    for key, found in measured(tmp_path / "results").items():
        assert found == undisturbed[key]


@pytest.mark.slow
def test_ctrl_c_before_the_run_began() -> None:
    """While modules are still being loaded."""
    with subprocess.Popen([command.BENCH, "doctor"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        for _ in until(20):
            if "torch" in Path(f"/proc/{run.pid}/maps").read_text():
                break
        run.send_signal(signal.SIGINT)
        _, errors = run.communicate(timeout=30)
    assert run.returncode == 130 and errors.strip() == "bench: interrupted"
