"""The processes of a run: who is there, who is left."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

# Ray's own agents may look for their server for up to a minute before they leave; they run no trial.
AGENTS = ("", "ray::DashboardAgent", "ray::RuntimeEnvAgent")


def marked(mark: str) -> dict[str, str]:
    """An environment whose descendants can be found by `mark`."""
    return {**os.environ, "BENCH_TEST_RUN": mark}


def descendants(mark: str) -> list[int]:
    """Processes that inherited `marked(mark)`, the first one included."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables, state = (folder / "environ").read_bytes(), (folder / "stat").read_text().rpartition(")")[2]
        except OSError:  # it has just left
            continue
        if f"BENCH_TEST_RUN={mark}".encode() in variables.split(b"\0") and state.split()[0] != "Z":
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


def all_left(mark: str) -> None:
    """Wait for the descendants to leave; end those that do not, and fail."""
    for _ in until(20):
        if all(title(pid) in AGENTS for pid in descendants(mark)):
            break
    left = {pid: title(pid) for pid in descendants(mark)}
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert not set(left.values()) - set(AGENTS), f"outlived the driver: {left}"
