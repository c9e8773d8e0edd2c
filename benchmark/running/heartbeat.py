"""Shows that a driver is alive and what it runs, in a file it keeps renewing; read by `bench status` and by leases."""

import contextlib
import hashlib
import json
import os
import re
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from benchmark.machine.durable_files import StoreFull
from benchmark.reading.plausible_values import LONGEST_LABEL, MOST_RUNNING
from benchmark.results.finished_trials import UNREADABLE, record
from benchmark.storage import Storage

_PERIOD_S = 2.0
STALE_S = 20.0
"""A driver that was silent for so long is dead: it renews its file every two seconds. Clocks may differ by the rest."""

_FORGOTTEN_S = 3600.0
_NAME = re.compile(r"[0-9a-f]{12}-[0-9]{1,10}")


@cache
def machine() -> str:
    """A name for this machine since it was started, or for a container on it: whatever has process ids of its own.

    Hashed: host names are not for the results.
    """
    parts = [socket.gethostname()]
    for place in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        with contextlib.suppress(OSError):  # not on Linux
            path = Path(place)
            parts.append(str(path.readlink()) if path.is_symlink() else path.read_text())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def driver() -> str:
    """The name of this process among all drivers on a store."""
    return f"{machine()}-{os.getpid()}"


def alive(storage: Storage, name: str) -> bool:
    """Whether the driver of this name still renews its file. One that was killed on this machine is known at once."""
    try:
        found = record(storage, f"running/{name}.json")
        return found is not None and _lives(name, found)
    except (*UNREADABLE, StoreFull):
        return False


def _lives(name: str, record: Mapping[str, Any]) -> bool:
    return not _has_ended(name) and abs(time.time() - float(record["time"])) < STALE_S


def _has_ended(name: str) -> bool:
    """Is its process gone? Known of this machine only."""
    where, _, process = name.rpartition("-")
    return where == machine() and not Path(f"/proc/{process}").exists() and Path("/proc/self").exists()


def clear_dead(storage: Storage) -> None:
    """Remove the files of drivers that were killed: on this machine, or an hour ago."""
    for file in storage.tree("running", 1):
        name = file.removesuffix(".json")
        value = record(storage, f"running/{file}") if _NAME.fullmatch(name) else None
        with contextlib.suppress(*UNREADABLE, StoreFull):
            if value is not None and (_has_ended(name) or time.time() - float(value["time"]) > _FORGOTTEN_S):
                storage.remove(f"running/{file}")


@dataclass
class Heartbeat:
    """The running trials of this driver, in results/running/. Use as a context manager.

    Renewed from a thread, so that a driver which is busy does not look dead.
    """

    storage: Storage
    _trials: Sequence[str] = field(default=(), init=False)
    _last: float = field(default=-_PERIOD_S, init=False)
    _over: threading.Event = field(default_factory=threading.Event, init=False)

    def beat(self, trials: Sequence[str]) -> None:
        """Write what runs, at most every two seconds. trials: labels for people."""
        self._trials = trials
        if time.monotonic() - self._last >= _PERIOD_S:
            self._last = time.monotonic()
            self._write()

    def __enter__(self) -> "Heartbeat":
        self._write()
        self._thread = threading.Thread(target=self._renew, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.storage.remove(self._name)

    def _renew(self) -> None:
        while not self._over.wait(_PERIOD_S):
            with contextlib.suppress(OSError, StoreFull):  # the run itself will say what is wrong with the store
                self._write()

    def _write(self) -> None:
        trials = [label[:LONGEST_LABEL] for label in self._trials[:MOST_RUNNING]]
        content = {"record": "running", "pid": os.getpid(), "time": time.time(), "trials": trials}
        self.storage.write(self._name, json.dumps(content).encode())

    @property
    def _name(self) -> str:
        return f"running/{driver()}.json"


def drivers(storage: Storage) -> dict[str, dict[str, Any]]:
    """Name -> record of each driver that lives."""
    found = {}
    for file in sorted(storage.tree("running", 1)):
        name, value = file.removesuffix(".json"), record(storage, f"running/{file}")
        with contextlib.suppress(*UNREADABLE):
            if value is not None and _lives(name, value):
                found[name] = value
    return found


def running(storage: Storage) -> list[str]:
    """Labels of the trials that live drivers run now."""
    return [label for one in drivers(storage).values() for label in one["trials"]]
