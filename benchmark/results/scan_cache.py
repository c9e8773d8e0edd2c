"""Caches which trials a scan of the results folder found complete, so that the next run need not look at each again.

    index/<hash of its content>.seen: signatures of trials, 16 bytes each

Derived, as the index is: a signature holds while the trial's folder is what it was. It says less than a line of the
index and costs a run little: a worker lists a trial's folder when it has written it.
"""

import hashlib
import re

from benchmark.storage import Storage

SIZE = 16
"""Bytes of a signature, see `trial_index.signature`."""
MANY = 1_000
"""Signatures in a file: what a killed run has to look at again takes a third of a second."""
_FILE = re.compile(r"[0-9a-f]{16}\.seen")


class Seen:
    """The trials that runs have found complete. problems: name and reason of files that cannot be read."""

    def __init__(self, storage: Storage) -> None:
        self.problems: list[tuple[str, str]] = []
        self._storage, self._names = storage, list[str]()
        self._before: set[bytes] = set()
        self._holding: set[bytes] = set()  # of those before, what the store still has
        self._new: set[bytes] = set()
        for name in sorted(name for name in storage.tree("index", 1) if _FILE.fullmatch(name)):
            try:
                content = storage.read(f"index/{name}")
            except FileNotFoundError:  # another run has just gathered it
                continue
            except OSError as error:
                self.problems.append((f"index/{name}", f"cannot be read ({type(error).__name__}: {error})"))
                continue
            if _name(content) == name and len(content) % SIZE == 0:
                self._names.append(name)
                self._before.update(content[i : i + SIZE] for i in range(0, len(content), SIZE))
            else:
                self.problems.append((f"index/{name}", "damaged: its content is not the one that was written"))

    def holds(self, one: bytes) -> bool:
        """Was this trial found complete, with the files that it has now?"""
        if one in self._before:
            self._holding.add(one)
            return True
        return False

    def add(self, one: bytes) -> None:
        """Remember that a trial is complete now."""
        if len(one) == SIZE:
            self._new.add(one)

    def gather(self) -> None:
        """Replace the files by a single one, of the trials that are still unchanged. Raises OSError."""
        if len(self._names) > 1 or len(self._new) >= MANY:
            self._new |= self._holding
            old, self._names = self._names, []
            self._write()
            for name in set(old) - set(self._names):
                self._storage.remove(f"index/{name}")

    def keep(self) -> None:
        """Write what was added, once it is much. Raises OSError."""
        if len(self._new) >= MANY:
            self._write()

    def forget(self) -> None:
        """Remove the files; the index, once it is written, holds more."""
        for name in self._names:
            self._storage.remove(f"index/{name}")

    def _write(self) -> None:
        content = b"".join(sorted(self._new))
        self._new.clear()  # also where it cannot be written: a run must not try that with every trial
        self._storage.write(f"index/{_name(content)}", content)
        self._names.append(_name(content))


def _name(content: bytes) -> str:
    return f"{hashlib.sha256(content).hexdigest()[:16]}.seen"
