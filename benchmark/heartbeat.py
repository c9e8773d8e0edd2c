"""What runs at this moment, for `bench status`: a file a driver, renewed while it lives, never a result."""

import hashlib
import json
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmark.inspection import records
from benchmark.storage import Storage

_PERIOD_S = 2.0
STALE_S = 20.0
"""A driver that was silent for so long is dead: it renews its file every two seconds."""


@dataclass
class Heartbeat:
    """The running trials of one driver, in results/running/. Use as a context manager."""

    storage: Storage
    _last: float = field(default=-_PERIOD_S, init=False)

    def beat(self, trials: Sequence[str]) -> None:
        """Renew the file, at most every two seconds. trials: labels for people."""
        now = time.monotonic()
        if now - self._last < _PERIOD_S:
            return
        self._last = now
        content = {"record": "running", "pid": os.getpid(), "time": time.time(), "trials": list(trials)}
        self.storage.write(self._name, json.dumps(content).encode())

    def __enter__(self) -> "Heartbeat":
        return self

    def __exit__(self, *_: object) -> None:
        self.storage.remove(self._name)

    @property
    def _name(self) -> str:
        # Drivers on a shared folder may have equal process ids; host names are not for the results.
        host = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
        return f"running/{host}-{os.getpid()}.json"


def running(storage: Storage) -> list[str]:
    """Labels of the trials that live drivers run now."""
    alive = [one for one in records(storage, "running") if time.time() - one["time"] < STALE_S]
    return [label for one in alive for label in one["trials"]]
