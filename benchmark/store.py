"""The only writer of results: one folder a trial, its mark `trial.json` written last.

    trials/ab/<key>/rows.parquet, tensors.safetensors, <table>.parquet, trial.json
    set_aside/<time>-<name>/
    and what is no result, see `records`

A reader sees one execution of a trial or nothing, whoever else writes the same trial at the same time.
"""

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from benchmark import inspection
from benchmark.durable import StoreFull
from benchmark.inspection import KEY, ROWS, UNREADABLE, Problem, fault, place, read_mark
from benchmark.records import Records, blob
from benchmark.seal import seal
from benchmark.storage import MARK, Leaf, Tree, open_storage
from benchmark.trial import Outcome, Trial

if TYPE_CHECKING:
    import pyarrow as pa
    import torch

    from benchmark.index import Kept
    from benchmark.seen import Seen

T = TypeVar("T")
_STALE_S = 3600.0
"""Where what is written is this old, it belongs to a killed run: writing a finished trial takes seconds."""


class CorruptArtifact(Exception):
    """A file of a finished trial is missing or is not what was written: recompute the trial."""

    def __init__(self, key: str, file: str, reason: str) -> None:
        self.key, self.file, self.reason = key, file, reason
        super().__init__(f"trial {key}: {file}: {reason}")


class Store(Records):
    """Results of trials in a folder (local, NFS) or below a URL. Only JSON, Parquet and safetensors."""

    def __init__(self, root: Path | str) -> None:
        """root: a folder, or a URL such as `s3://bucket/prefix`. Raises ValueError for a URL of an unknown kind."""
        super().__init__(open_storage(root))
        self.root = self.storage.root

    def folder(self, key: str) -> Path:
        """Where a trial lies, in a store that is a folder."""
        return Path(self.root) / place(key)

    def writable(self) -> None:
        """Create the folder if need be. Raises ValueError with one line where it cannot be written."""
        self.storage.prepare()

    def has(self, key: str) -> bool:
        """Is the trial finished, with every file there, of its size, and its rows whole?"""
        return not fault(self.storage, key)

    def verify(self, key: str) -> str:
        """Re-hashes every file: why the trial must be computed again; empty if it must not."""
        reason = fault(self.storage, key)
        try:
            for name in () if reason else self._mark(key)["files"]:
                self._verified(key, name, lambda path: path)
        except CorruptArtifact as error:
            return f"{error.file}: {error.reason}"
        return reason

    def write(self, trial: Trial, outcome: Outcome, provenance: Mapping[str, Any]) -> None:
        """Commit a trial, in place of an earlier result of it.

        provenance: the columns of `schema.PROVENANCE` but `trial_key`.
        Raises ValueError for a row that is no number, StoreFull, OSError.
        """
        from benchmark.encoding import encode
        from benchmark.schema import SCHEMA_VERSION

        key, contents = trial.key, encode(trial, outcome, provenance)
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
        mark = {
            "schema_version": SCHEMA_VERSION,
            "key": key,
            "trial": trial.to_json(),
            "files": {name: {"bytes": len(contents[name]), "sha256": hashes[name]} for name in contents},
            "provenance": dict(provenance),
        }
        files = {self.storage.file_name(name, hashes[name]): content for name, content in contents.items()}
        self.storage.commit(place(key), {**files, MARK: seal(_json(mark))}, MARK)

    def examined(self, key: str) -> "Kept | None":
        """What the trial's own files say; None if it is not finished. Raises CorruptArtifact."""
        from benchmark.index import Kept
        from benchmark.schema import PROVENANCE

        if not self.has(key):
            return None
        mark, rows = self._mark(key), self._verified(key, ROWS, _read_measure)
        assert rows is not None, "no mark is without it"
        made = {name: mark["provenance"].get(name) for name, _, _ in PROVENANCE if name != "trial_key"}
        return Kept(tuple(rows.to_pylist()), made, mark["files"])

    def finished(self, keys: Iterable[str]) -> "dict[str, Kept]":
        """Those of `keys` that are finished, from the index where it has them. Raises CorruptArtifact."""
        from benchmark.index import WHOLE, Index, signature

        wanted, index = set(keys), Index(self.storage, WHOLE)
        signed = {signature(key, files): key for key, files in self.folders() if key in wanted}
        found = {signed[one]: kept for one, kept in index.kept(signed.keys())}
        left = [key for key in signed.values() if key not in found]
        for key, kept in zip(left, inspection.side_by_side(self.storage, self.examined, left), strict=True):
            if kept is not None:
                found[key] = kept
        return found

    def folders(self) -> Iterator[tuple[str, Tree]]:
        """Every trial's folder with what lies in it, finished or not."""
        names = inspection.prefixes(self.storage)
        for start in range(0, len(names), self.storage.parallel):
            part = names[start : start + self.storage.parallel]
            for found in inspection.side_by_side(self.storage, self._trials_of, part):
                for key, files in found.items():
                    if KEY.fullmatch(key) and not isinstance(files, Leaf):
                        yield key, files

    def _trials_of(self, prefix: str) -> Tree:
        return self.storage.tree(f"trials/{prefix}", 2)

    def keys(self) -> list[str]:
        """Keys of the trials that have a mark, sorted; `has` says whether they are whole."""
        found = self.storage.tree("trials", 3)
        return sorted(
            key
            for prefix in found.values()
            if isinstance(prefix, dict)
            for key, files in prefix.items()
            if KEY.fullmatch(key) and isinstance(files, dict) and MARK in files
        )

    def trial(self, key: str) -> Trial:
        """What was computed. Raises CorruptArtifact, as all that reads a trial."""
        return Trial.from_json(self._mark(key)["trial"])

    def provenance(self, key: str) -> dict[str, Any]:
        return dict(self._mark(key)["provenance"])

    def rows(self, key: str) -> "pa.Table":
        """Rows of a trial in the columns of `schema.ROWS`."""
        from benchmark.schema import ROWS, completed

        return completed(self.table(key, "rows"), ROWS)

    def table(self, key: str, name: str) -> "pa.Table":
        """A table that the trial wrote, verified. Raises CorruptArtifact, ValueError for another name."""
        found: pa.Table | None = self._verified(key, f"{name}.parquet", _read_table)
        if found is None:
            wrote = ", ".join(self._mark(key)["files"])
            raise ValueError(f"table {name!r} was not written by trial {key}; it wrote {wrote}")
        return found

    def wrote(self, key: str, name: str) -> bool:
        """Whether the trial wrote a table of this name. Raises CorruptArtifact."""
        return f"{name}.parquet" in self._mark(key)["files"]

    def tensors(self, key: str) -> "dict[str, torch.Tensor]":
        """The tensors that the trial wrote, verified, on the CPU; empty if it wrote none."""
        return self._verified(key, "tensors.safetensors", _read_tensors) or {}

    def _mark(self, key: str) -> dict[str, Any]:
        try:
            return read_mark(self.storage, key)
        except UNREADABLE as error:
            raise CorruptArtifact(key, MARK, f"cannot be read ({type(error).__name__}: {error})") from error

    def _verified(self, key: str, name: str, load: Callable[[Path | bytes], T]) -> T | None:
        """Load a file that hashes to what the mark says; None if the mark does not name it.

        Looks three times, since another process may be putting the same trial in place.
        """
        problem = CorruptArtifact(key, name, "its sha256 is not the one that was written")
        for pause in (0.02, 0.1, 0.0):
            try:
                expected = self._mark(key)["files"].get(name)
                if expected is None:
                    return None
                file = f"{place(key)}/{self.storage.file_name(name, expected['sha256'])}"
                found = self.storage.verified(file, expected["sha256"])
                if found is not None:
                    return load(found)
            except OSError as error:
                problem = CorruptArtifact(key, name, f"cannot be read ({error.strerror})")
            except CorruptArtifact as error:
                problem = error
            time.sleep(pause)
        raise problem

    def check(self) -> list[Problem]:
        """What does not belong in the results folder; see `set_aside`."""
        return self.scan()[1]

    def scan(self, seen: "Seen | None" = None) -> tuple[set[str], list[Problem]]:
        """(keys of the finished trials, what `check` finds), in one pass. seen: see `inspection.scan`."""
        return inspection.scan(self.storage, seen)

    def signature(self, key: str) -> bytes:
        """Of a trial and what is in its folder now, see `index.signature`; empty where that cannot be told."""
        from benchmark.index import signature

        try:
            return signature(key, self.storage.tree(place(key), 1))
        except OSError:
            return b""

    def set_aside(self, name: str, reason: str) -> str:
        """Move a trial (by key) or a file or folder (by its relative name) out of the way; nothing is deleted.

        Returns where it is now, with the reason.
        """
        source = place(name) if KEY.fullmatch(name) else name
        stamp, last = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ"), source.rsplit("/", 1)[-1]
        target = f"set_aside/{stamp}-{last[:100]}"
        self.storage.write(f"{target}/reason.txt", f"{source}\n{reason}\n".encode())
        self.storage.move(source, f"{target}/{last}")  # or another run has just set it aside
        return target

    def get_blob(self, sha256: str, target: Path) -> None:
        """As `Records.get_blob`; a file that is damaged is set aside, so that the next run sends it again."""
        try:
            super().get_blob(sha256, target)
        except ValueError as error:
            with contextlib.suppress(OSError, StoreFull):
                self.set_aside(blob(sha256), str(error))
            raise

    def clear_stale(self) -> None:
        """Remove what killed runs were writing, which has no mark and so was never a result, and old progress."""
        self.storage.clear_stale(_STALE_S)
        self.clear_old_progress(_STALE_S)


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=1, allow_nan=False).encode()


def _read_table(found: Path | bytes) -> "pa.Table":
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pq.ParquetFile(found if isinstance(found, Path) else pa.BufferReader(found)).read(use_threads=False)


def _read_measure(found: Path | bytes) -> "pa.Table":
    """The columns of `schema.MEASURE`. From memory: a path costs Parquet's reader more than the table does."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from benchmark.schema import MEASURE, ROWS

    columns = pa.schema([ROWS.field(name) for name, _, _ in MEASURE])
    content = found.read_bytes() if isinstance(found, Path) else found
    return pq.ParquetFile(pa.BufferReader(content)).read(columns=columns.names, use_threads=False).cast(columns)


def _read_tensors(found: Path | bytes) -> "dict[str, torch.Tensor]":
    from safetensors.torch import load, load_file

    return load_file(found) if isinstance(found, Path) else load(found)
