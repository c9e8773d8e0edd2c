"""How tests are spread over processes, which of them are slow, and what a process keeps of them: hooks of pytest."""

import ctypes
import gc
import signal

import pytest

SLOW_MARKERS = ("ray", "cluster", "browser")
SLOW_FIXTURES = {"tiny_run", "real", "written"}
"""Take more than a second to make."""
SLOW_S = 1.0
LISTED_S = 2 * SLOW_S  # a busy machine takes longer
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _USUAL = -1, -3, 128 * 1024


def pytest_configure(config: pytest.Config) -> None:
    # Scripts ignore Ctrl-C in what they put into the background, and so would the commands that tests interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of a file stay together, except slow ones that share nothing; the slow begin."""
    for item in items:
        if any(item.get_closest_marker(name) for name in SLOW_MARKERS) or SLOW_FIXTURES & _fixtures(item):
            item.add_marker("slow")
        if not item.get_closest_marker("slow") or _shares(item):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
    slow_files = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (not item.get_closest_marker("cluster"), item.path not in slow_files))


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


def _fixtures(item: pytest.Item) -> set[str]:
    return set(getattr(item, "fixturenames", ()))


def _shares(item: pytest.Item) -> bool:
    """Whether the test uses something that is made once for its file."""
    known = getattr(item, "_fixtureinfo", None)
    made = known.name2fixturedefs.values() if known else ()
    return any(definitions[-1].scope in ("module", "class") for definitions in made)
