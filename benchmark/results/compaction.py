"""`bench compact`: gathers what a resume and the page read of the finished trials into one index file."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from benchmark.results.finished_trials import side_by_side
from benchmark.results.scan_cache import Seen
from benchmark.results.store import CorruptArtifact, Store
from benchmark.results.trial_index import SCHEMA, WHOLE, Index, Kept, encode, file_name, signature
from benchmark.results.write_trial_files import parquet

MANY = 10_000
"""Trials outside the index from which on a run makes it anew by itself."""
_BATCH = 2_000


@dataclass(frozen=True)
class Compacted:
    """What `compact` did: num_trials are in the index now; num_new of them were not before."""

    num_trials: int
    num_new: int


def compact(store: Store) -> Compacted:
    """Make the index anew from the trials that are finished now; changes no trial.

    Runs may go on beside it: a trial that is written meanwhile is in the next one. Raises OSError, StoreFull.
    """
    index, seen = Index(store.storage, WHOLE), Seen(store.storage)
    current = {signature(key, files): key for key, files in store.folders()}
    new = [(one, key) for one, key in current.items() if one not in index]
    held = list(_held(index, set(current)))
    made = [_encoded(batch) for batch in _examined(store, new)]
    table = pa.concat_tables([SCHEMA.empty_table(), *held, *made])
    num_new = sum(len(part) for part in made)
    if num_new or len(index.names) != 1 or len(table) != len(index):
        _replace(store, index, table)
    seen.forget()
    return Compacted(len(table), num_new)


def num_loose(store: Store) -> int:
    """The number of trials that are in no index."""
    index = Index(store.storage)
    return sum(signature(key, files) not in index for key, files in store.folders())


def _held(index: Index, current: set[bytes]) -> Iterator[pa.Table]:
    """The lines that still hold, each once."""
    for table in index.tables:
        found = table.filter(pc.is_in(table["signature"], pa.array(list(current), pa.binary())))
        current.difference_update(found["signature"].to_pylist())
        yield found


def _encoded(lines: list[tuple[bytes, Kept]]) -> pa.Table:
    try:
        return encode(lines)
    except (pa.ArrowException, TypeError):
        if len(lines) == 1:  # provenance of no run's making: the trial stays outside
            return SCHEMA.empty_table()
        return pa.concat_tables([_encoded([line]) for line in lines])


def _examined(store: Store, new: list[tuple[bytes, str]]) -> Iterator[list[tuple[bytes, Kept]]]:
    """Batches of lines of trials that are finished and whole."""

    def line(item: tuple[bytes, str]) -> tuple[bytes, Kept] | None:
        try:
            kept = store.examined(item[1])
        except CorruptArtifact:  # a run finds it, and computes the trial again
            return None
        return None if kept is None else (item[0], kept)

    for start in range(0, len(new), _BATCH):
        found = side_by_side(store.storage, line, new[start : start + _BATCH])
        yield [one for one in found if one is not None]


def _replace(store: Store, index: Index, table: pa.Table) -> None:
    content = parquet(table)
    name = file_name(content)
    store.storage.write(f"index/{name}", content)
    for old in index.names:
        if old != name:
            store.storage.remove(f"index/{old}")
