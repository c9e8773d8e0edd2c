"""Leases, so that several drivers on one results folder do no work twice: a worker leases a trial before computing it.

leases/<key>.json names the driver. A lease holds as long as that driver renews its file in `running/`, so that
renewing costs a write a driver, not a trial; one whose driver is gone may be taken over. It only saves work: should two
compute a trial all the same, they write the same numbers, one after the other.
"""

import contextlib
import json
from dataclasses import dataclass

from benchmark.reading.json_and_parquet import parse
from benchmark.results.finished_trials import UNREADABLE, place
from benchmark.running.heartbeat import alive
from benchmark.storage import Storage

_MOST_BYTES = 4096
_NOBODY = "nobody"


@dataclass(frozen=True)
class Leases:
    """The leases of one driver, by its name. With an empty name every trial may be computed, without a lease."""

    storage: Storage
    driver: str

    def take(self, key: str) -> bool:
        """Whether the trial is this driver's now; of several that try at once, one gets it."""
        if not self.driver:
            return True
        name, content = _name(key), json.dumps({"record": "leases", "driver": self.driver}).encode()
        if self.storage.create(name, content):
            return True
        try:
            found, version = self.storage.look(name)
        except FileNotFoundError:  # released meanwhile
            return self.storage.create(name, content)
        holder = _holder(found)
        if holder == self.driver:  # the worker of an earlier attempt was lost
            return True
        return not alive(self.storage, holder) and self.storage.swap(name, content, version)

    def release(self, key: str) -> None:
        """Give the trial back, if it is still this driver's."""
        if self.driver:
            with contextlib.suppress(FileNotFoundError):
                if _holder(self.storage.look(_name(key))[0]) == self.driver:
                    self.storage.remove(_name(key))


def _name(key: str) -> str:
    return f"leases/{place(key).rpartition('/')[2]}.json"


def _holder(content: bytes) -> str:
    """The driver that a lease names; a name that is nobody's where it cannot be read."""
    try:
        return str(parse(content)["driver"]) if len(content) <= _MOST_BYTES else _NOBODY
    except UNREADABLE:
        return _NOBODY
