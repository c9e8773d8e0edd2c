"""`bench verify`: checks whether every byte of a results folder is the one that was written. Changes nothing.

A resume reads as little as it can, and a page what it shows. Here every file is hashed, in pieces, against what its
mark or its name says, marks and records against their own checksums, and numbers against the raw output that they
follow from. `leases/` and `running/` hold no result and pass with their drivers; `set_aside/` is known to be wrong.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from benchmark.results.finished_trials import (
    KEY,
    ROWS,
    UNREADABLE,
    checked_mark,
    place,
    prefixes,
    side_by_side,
    size_fault,
)
from benchmark.results.rederivation import contradiction
from benchmark.results.store import Store
from benchmark.results.verify_side_files import KINDS, OTHER, unproven_mark, unreadable
from benchmark.storage import MARK, Leaf, Storage, Tree
from benchmark.storage.checksum import is_sealed
from benchmark.trials.trial import Trial

T = TypeVar("T")
_AGAIN_S = 0.2
"""A run may just be putting another execution of a trial, or another record, in place."""
_BATCH = 64
_COMPUTED_AGAIN = "`bench run` computes it again"


@dataclass(frozen=True)
class Damage:
    """name: of the file, relative to the results folder. aside: what to set aside for it, see `Store.set_aside`."""

    name: str
    reason: str
    aside: str
    remedy: str


@dataclass(frozen=True)
class Look:
    """How much was checked, and what is wrong with it.

    num_rederived: trials with numbers that were derived again from raw output. num_older: marks and records of a
    version without checksums, of which some text may be wrong unnoticed.
    """

    damages: tuple[Damage, ...] = ()
    num_trials: int = 0
    num_files: int = 0
    num_bytes: int = 0
    num_rederived: int = 0
    num_older: int = 0

    def __add__(self, other: "Look") -> "Look":
        return Look(*(mine + more for mine, more in zip(vars(self).values(), vars(other).values(), strict=True)))


def verify(store: Store) -> Iterator[Look]:
    """Checks all that is in the store, a part at a time. Raises OSError where the store itself does not answer."""
    storage = store.storage
    for kind in KINDS:
        found = _visible(storage, kind)
        if kind == "files":
            yield from (_foreign(f"{kind}/{name}") for name, leaf in found if isinstance(leaf, Leaf))
            for name in (name for name, leaf in found if not isinstance(leaf, Leaf)):
                below = _visible(storage, f"{kind}/{name}")
                yield from _looks(store, partial(_file, storage, kind, f"{kind}/{name}"), below)
        else:
            yield from _looks(store, partial(_file, storage, kind, kind), found)
    known = set(prefixes(storage))
    yield from (_foreign(f"trials/{name}") for name, _ in _visible(storage, "trials") if name not in known)
    for prefix in sorted(known):
        keys = []
        for key, files in _visible(storage, f"trials/{prefix}", 2):
            if not KEY.fullmatch(key) or key[:2] != prefix or isinstance(files, Leaf):
                yield _foreign(f"trials/{prefix}/{key}")
            elif not files or not all(storage.hidden(file) for file in files):  # not one that is being written
                keys.append(key)
        yield from _looks(store, partial(_trial, store), keys)


def _visible(storage: Storage, folder: str, depth: int = 1) -> list[tuple[str, Tree | Leaf]]:
    return [(name, found) for name, found in sorted(storage.tree(folder, depth).items()) if not storage.hidden(name)]


def _foreign(name: str) -> Look:
    return Look((Damage(name, "foreign: no run leaves it there", name, "no run needs it"),))


def _looks(store: Store, look: Callable[[T], Look], items: Iterable[T]) -> Iterator[Look]:
    """A look at each; a second one where something is wrong."""

    def sure(item: T) -> Look:
        found = look(item)
        if found.damages:
            time.sleep(_AGAIN_S)
            return look(item)
        return found

    left = list(items)
    for start in range(0, len(left), _BATCH):
        yield sum(side_by_side(store.storage, sure, left[start : start + _BATCH]), Look())


def _file(storage: Storage, kind: str, folder: str, item: tuple[str, Tree | Leaf]) -> Look:
    """A file that is no trial's."""
    (name, leaf), check, remedy = item, *KINDS[kind]
    if not isinstance(leaf, Leaf) or leaf.odd:
        return _foreign(f"{folder}/{name}")
    older = False
    try:
        reason, older = check(storage, folder, name)
    except FileNotFoundError:  # a run has just removed it
        return Look()
    except OSError as error:
        reason = unreadable(storage, error)
    damages = (Damage(f"{folder}/{name}", reason, f"{folder}/{name}", remedy),) if reason else ()
    return Look(damages, num_files=1, num_bytes=leaf.bytes, num_older=int(older))


def _trial(store: Store, key: str) -> Look:
    storage, folder = store.storage, place(key)
    there = storage.tree(folder, 1)
    if not there:  # another run has just set it aside
        return Look()

    def damage(name: str, reason: str) -> Damage:
        return Damage(f"{folder}/{name}", reason, key, _COMPUTED_AGAIN)

    try:
        content = storage.read(f"{folder}/{MARK}")
        mark = checked_mark(content, key)
    except OSError as error:
        return Look((damage(MARK, unreadable(storage, error)),), num_trials=1)
    except UNREADABLE as error:
        return Look((damage(MARK, f"damaged ({type(error).__name__}: {error})"),), num_trials=1)
    found, stored, num_bytes = [], {MARK}, len(content)
    for name, written in mark["files"].items():
        file = storage.file_name(name, written["sha256"])
        stored.add(file)
        reason = size_fault(there.get(file), written["bytes"])
        if not reason:
            num_bytes += written["bytes"]
            reason = _hashed(storage, f"{folder}/{file}", written["sha256"])
        if reason:
            found.append(damage(file, reason))
    older, again = not is_sealed(content), False
    if older and not found:
        reason = unproven_mark(store, key, content)
        found += [damage(MARK, reason)] if reason else []
    if not found:
        again, reason = contradiction(store, Trial.from_json(mark["trial"]))
        found += [damage(storage.file_name(ROWS, mark["files"][ROWS]["sha256"]), reason)] if reason else []
    foreign = sum((_foreign(f"{folder}/{name}") for name, _ in _visible(storage, folder) if name not in stored), Look())
    return foreign + Look(tuple(found), 1, len(stored), num_bytes, int(again), int(older))


def _hashed(storage: Storage, name: str, sha256: str) -> str:
    try:
        return "" if storage.digest(name) == sha256 else OTHER
    except OSError as error:
        return unreadable(storage, error)
