"""How tests are spread over processes, which of them are slow, and what a process keeps of them: hooks of pytest."""

import ctypes
import gc
import os
import signal
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

SLOW_MARKERS = ("ray", "cluster", "browser")
SLOW_FIXTURES = {"tiny_run", "real", "written", "added"}
"""Take more than a second to make."""
APART = {
    "test_end_to_end",
    "test_interruptions",
    "test_interrupts",
    "test_kill",
    "test_lost_nodes",
    "test_lost_trainings",
}
"""Files of slow tests that share nothing which is made once for a file."""
SLOW_S = 1.0
LISTED_S = 2 * SLOW_S  # a busy machine takes longer
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _USUAL = -1, -3, 128 * 1024


def pytest_configure(config: pytest.Config) -> None:
    # Scripts ignore Ctrl-C in what they put into the background, and so would the commands that tests interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Where it is set, each of the hundreds of processes that tests start would compile the package anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slowest files begin; what is slow by its markers or fixtures is marked so."""
    for item in items:
        if any(item.get_closest_marker(name) for name in SLOW_MARKERS) or SLOW_FIXTURES & _fixtures(item):
            item.add_marker("slow")
    longest = {path: max(map(_seconds, of_file)) for path, of_file in groupby(items, key=lambda item: item.path)}
    items.sort(key=lambda item: -longest[item.path])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Tests of a file stay together, for what they share, and begin in the order of collection; those of APART do not.

    pytest-xdist's own `--dist loadgroup` does nothing under pytest 9.
    """
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return nodeid if Path(file).stem in APART else file

    config.option.loadscopereorder = False  # it would begin with the files of many tests
    return Scheduling(config, log)


def pytest_collection_finish() -> None:
    gc.freeze()  # modules stay: a collection need not look at them


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    if nextitem is None or nextitem.path != item.path:
        give_back_memory()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tests for `make check` that are none."""
    for report in terminalreporter.getreports("passed"):
        if report.when == "call" and report.duration > LISTED_S and "slow" not in report.keywords:
            terminalreporter.write_line(
                f"{report.nodeid} took {report.duration:.1f} s: mark it slow, if it always does"
            )


def give_back_memory() -> None:
    """A process that has run trials keeps what they free (`benchmark.machine.freed_memory`); this one has other tests.

    Unlike a process of `bench`, it would keep the largest of everything that any test ever needed.
    """
    gc.collect()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):  # glibc
        libc.mallopt(_M_TRIM_THRESHOLD, _USUAL)
        libc.mallopt(_M_MMAP_THRESHOLD, _USUAL)
        libc.malloc_trim(0)


def _seconds(item: pytest.Item) -> float:
    """`slow(200)` says roughly how long, where it is so long that it should not begin last."""
    marks = [mark for mark in item.iter_markers("slow") if mark.args]
    return float(marks[0].args[0]) if marks else SLOW_S * (item.get_closest_marker("slow") is not None)


def _fixtures(item: pytest.Item) -> set[str]:
    return set(getattr(item, "fixturenames", ()))
