"""Ctrl-C at any moment: one line, exit code 130, nothing cut in two, no crash on the way out."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import command
import pytest
import toy
from processes import until

from benchmark.machine import interrupts
from benchmark.machine.interrupts import check, held
from benchmark.results.store import Store
from benchmark.running.executors import Finished
from benchmark.running.run import run


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_it_waits_for_a_moment_between_two_steps() -> None:
    with held():
        press()
        with held():
            steps = ["not here", "nor at the end of a block"]
        with pytest.raises(KeyboardInterrupt):
            check()
        check()
    assert len(steps) == 2
    with pytest.raises(KeyboardInterrupt):
        press()


class Pressed(toy.Inline):
    """Ctrl-C comes before a trial that has been asked for is there."""

    closed = 0

    def wait(self, timeout: float | None = None) -> list[Finished]:
        press()
        return super().wait(timeout)

    def close(self) -> None:
        super().close()
        Pressed.closed += 1


def test_a_step_that_has_begun_is_ended(tmp_path: Path) -> None:
    store, plan = Store(tmp_path), toy.diamonds(1)
    report = run(plan, store, Pressed, toy.settings(store))
    assert report.interrupted and Pressed.closed == 1
    assert report.num_executed == report.num_done == len(store.keys()) == 1 < report.num_total
    assert not list((tmp_path / "running").iterdir()) and store.check() == []
    assert run(plan, store, toy.Inline, toy.settings(store)).num_done == report.num_total


def end_of(code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    "crash",
    ["os.kill(os.getpid(), signal.SIGSEGV)", "os._exit(1)", "time.sleep(100)", "os.kill(os.getpid(), signal.SIGINT)"],
)
def test_pythons_own_end_is_not_part_of_the_way_out(crash: str) -> None:
    code = f"""
import atexit, os, signal, sys, time
from benchmark.cli import main
def wait(*args, **kwargs):
    print("all of ours")
    raise KeyboardInterrupt
main.commands["doctor"].callback = wait
atexit.register(lambda: {crash})
sys.argv = ["bench", "doctor"]
main()
"""
    done = end_of(code)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (130, "all of ours\n", interrupts.SAID)


def test_the_second_one_ends_it_at_once() -> None:
    code = """
import os, signal, time
from benchmark.machine.interrupts import arm, held
arm()
with held():
    os.kill(os.getpid(), signal.SIGINT)
    print("goes on", flush=True)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(30)
"""
    done = end_of(code)
    assert (done.returncode, done.stdout, done.stderr) == (130, "goes on\n", f"{interrupts.SAID}\n")


def stop(folder: Path, *arguments: str | Path, prepare: Callable[[], None] | None = None) -> tuple[int, str, str]:
    """Ctrl-C for `bench` when it has made the file `begun` in the folder: exit code, output, errors."""
    call = [command.BENCH, *arguments]
    with subprocess.Popen(
        call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=prepare
    ) as process:
        for _ in until(60):
            if (folder / "begun").exists():
                break
        os.killpg(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    return process.returncode, output, errors


@pytest.mark.slow
@pytest.mark.parametrize("swallowing", ["except BaseException: pass", "finally: print('cleared')"])
def test_a_module_that_is_loading_cannot_swallow_it(tmp_path: Path, swallowing: str) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(f"import sys\nsys.path.append({str(tmp_path)!r})\nimport a_slow_module\n")
    (tmp_path / "a_slow_module.py").write_text(
        f"import pathlib, time\npathlib.Path({str(tmp_path / 'begun')!r}).touch()\n"
        f"try:\n    time.sleep(3)\n{swallowing}\n"
    )
    code, output, errors = stop(tmp_path, "list", "--include", mine)
    assert (code, output, errors) == (130, "", f"{interrupts.SAID}\n")


def ignore() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@pytest.mark.slow
def test_where_it_is_to_be_ignored_it_is(tmp_path: Path) -> None:
    """As for a job that a script puts into the background."""
    mine = tmp_path / "mine.py"
    mine.write_text(f"import pathlib, time\npathlib.Path({str(tmp_path / 'begun')!r}).touch()\ntime.sleep(0.5)\n")
    code, _, errors = stop(tmp_path, "list", "--include", mine, prepare=ignore)
    assert (code, errors) == (0, "")
