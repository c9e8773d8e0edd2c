"""What runs at this moment, for `bench status`: a file a driver, renewed while it lives, never a result."""

import hashlib
import json
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.durable import replace_file
from benchmark.inspection import record

_PERIOD_S = 2.0
STALE_S = 20.0
"""A driver that was silent for so long is dead: it renews its file every two seconds."""


@dataclass
class Heartbeat:
    """The running trials of one driver, in results/running/. Use as a context manager."""

    root: Path
    _last: float = field(default=-_PERIOD_S, init=False)

    def beat(self, trials: Sequence[str]) -> None:
        """Renew the file, at most every two seconds. trials: labels for people."""
        now = time.monotonic()
        if now - self._last < _PERIOD_S:
            return
        self._last = now
        content = {"record": "running", "pid": os.getpid(), "time": time.time(), "trials": list(trials)}
        replace_file(self._path, json.dumps(content).encode())

    def __enter__(self) -> "Heartbeat":
        return self

    def __exit__(self, *_: object) -> None:
        self._path.unlink(missing_ok=True)

    @property
    def _path(self) -> Path:
        # Drivers on a shared folder may have equal process ids; host names are not for the results.
        host = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
        return self.root / "running" / f"{host}-{os.getpid()}.json"


def running(root: Path) -> list[str]:
    """Labels of the trials that live drivers run now."""
    found = [record(path) for path in sorted((root / "running").glob("*.json"))]
    alive = [one for one in found if one is not None and time.time() - one["time"] < STALE_S]
    return [label for one in alive for label in one["trials"]]
