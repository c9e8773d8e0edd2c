"""Keeps a run going on a cluster's head when its caller leaves: in a folder with its log, exit code and lock."""

import fcntl
import hashlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmark.trials.provenance import DISTRIBUTION

RUNS = "~/robust-or-private/runs"
"""Folder on the head: a folder a suite."""
LOST = 1
"""Exit code of a run that left none: its machine was switched off, or its supervisor killed."""
_POLL_S = 0.25


def about() -> dict[str, Any]:
    """The versions and the code (file -> digest) of this machine, to compare with another's."""
    root = Path(__file__).parents[1]
    files = {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*.py"))}
    return {
        "ray": metadata.version("ray"),
        "bench": metadata.version(DISTRIBUTION),
        "code": {name: hashlib.sha256(content).hexdigest()[:12] for name, content in files.items()},
    }


def folder_name(suite: str) -> str:
    """The name of the folder of a suite's run: the suite's own name where a folder may be called so."""
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", suite):
        return suite
    return f"suite-{hashlib.sha256(suite.encode()).hexdigest()[:12]}"


def start(folder: Path, command: Sequence[str], facts: dict[str, Any]) -> bool:
    """Start `command` in `folder`, in a session of its own, unless one runs there already.

    facts: kept beside it, for `state`. Returns: whether it was started.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return False
    for name in ("exit", "pid"):
        (folder / name).unlink(missing_ok=True)
    record = {**facts, "command": list(command), "begun": time.time()}
    (folder / "call.json").write_text(json.dumps(record))
    with (folder / "log").open("wb") as log:
        subprocess.run(
            [sys.executable, "-m", "benchmark.cluster.detached", str(lock), *command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=[lock],
            check=True,
        )
    os.close(lock)
    return True


def supervise(lock: int, command: Sequence[str]) -> None:
    """Run `command` in the present folder and keep its exit code. Both hold the lock: it is free when both are gone."""
    if os.fork():
        os._exit(0)  # who started it need not wait
    process = subprocess.Popen(command, start_new_session=True, pass_fds=[lock])
    _write("pid", str(process.pid))
    code = process.wait()
    _write("exit", str(code if code >= 0 else 128 - code))


def _write(name: str, text: str) -> None:
    Path(f"{name}.new").write_text(text)
    Path(f"{name}.new").replace(name)


def running(folder: Path) -> bool:
    """Whether a run holds the lock of this folder."""
    try:
        lock = os.open(folder / "lock", os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def state(folder: Path) -> dict[str, Any]:
    """What was called, when, whether it runs, and its exit code (None while it runs, or if it left none)."""
    call: dict[str, Any] = json.loads((folder / "call.json").read_text())
    alive = running(folder)
    code = folder / "exit"
    ended = int(code.read_text()) if not alive and code.exists() else None
    return {**call, "name": folder.name, "running": alive, "code": ended}


def states(root: Path) -> list[dict[str, Any]]:
    """`state` of every run below `root`."""
    return [state(path.parent) for path in sorted(root.glob("*/call.json"))]


def follow(folder: Path, offset: int, write: Callable[[bytes], object]) -> int:
    """Pass on the log from byte `offset` as it grows. Returns the run's exit code, or 0 when nobody reads it now."""
    with (folder / "log").open("rb") as log:
        log.seek(offset)
        while True:
            alive = running(folder)  # asked before the log is read: nothing can be missed
            while chunk := log.read(2**16):
                write(chunk)
            if not alive:
                code = state(folder)["code"]
                return LOST if code is None else int(code)
            if _nobody_reads():
                return 0
            time.sleep(_POLL_S)


def stop(folder: Path, seconds: float = 60.0) -> bool:
    """Interrupt the run, as Ctrl-C would. Returns whether it ended within so many seconds."""
    if running(folder) and (folder / "pid").exists():
        os.killpg(int((folder / "pid").read_text()), signal.SIGINT)
    return any(not running(folder) for _ in _until(seconds))


def _nobody_reads() -> bool:
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return bool(poll.poll(0))


def _until(seconds: float) -> Iterator[None]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
        time.sleep(_POLL_S)


if __name__ == "__main__":
    supervise(int(sys.argv[1]), sys.argv[2:])
