"""The results folder: writes and reads finished trials, each in a folder of its own.

    trials/ab/<key>/rows.parquet, tensors.safetensors, <table>.parquet, trial.json

`trial.json`, the mark, is written last. So a reader sees one execution of a trial or nothing, whoever else writes the
same trial at the same time. What lies beside the trials is in `side_files`; damaged ones go where `set_aside` says.
"""

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from benchmark.machine.durable_files import StoreFull
from benchmark.reading.json_and_parquet import TooMuch, read_parquet
from benchmark.reading.plausible_values import MOST_TABLE_BYTES, MOST_TABLE_ROWS, odd_provenance, odd_rows
from benchmark.results import finished_trials
from benchmark.results.finished_trials import (
    KEY,
    MOST_FILE_BYTES,
    NO_MARK,
    ROWS,
    UNREADABLE,
    Problem,
    fault,
    place,
    read_mark,
)
from benchmark.results.read_trial_files import read_arrays, read_measure, read_tensor_names, read_tensors
from benchmark.results.set_aside import set_aside
from benchmark.results.side_files import Records, blob
from benchmark.storage import MARK, Leaf, Tree, open_storage
from benchmark.trials.trial import Outcome, Trial

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa
    import torch

    from benchmark.results.scan_cache import Seen
    from benchmark.results.trial_index import Kept

T = TypeVar("T")
_STALE_S = 3600.0
"""Where what is written is this old, it belongs to a killed run: writing a finished trial takes seconds."""

_PAUSES_S, _MOST_LOOKS = (0.02, 0.1), 50
"""Between looks at a file that is not what its mark says."""


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
        from benchmark.results.write_trial_files import encode, mark

        key, contents = trial.key, encode(trial, outcome, provenance)
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
        files = {self.storage.file_name(name, hashes[name]): content for name, content in contents.items()}
        self.storage.commit(place(key), {**files, MARK: mark(trial, contents, hashes, provenance)}, MARK)

    def examined(self, key: str) -> "Kept | None":
        """What the trial's own files say; None if it is not finished. Raises CorruptArtifact."""
        from benchmark.results.trial_index import Kept
        from benchmark.schema import PROVENANCE

        if not self.has(key):
            return None
        mark, table = self._mark(key), self._verified(key, ROWS, read_measure)
        assert table is not None, "no mark is without it"
        rows = table.to_pylist()
        if odd := odd_rows(rows):
            raise CorruptArtifact(key, ROWS, odd)
        made = {name: mark["provenance"].get(name) for name, _, _ in PROVENANCE if name != "trial_key"}
        return Kept(tuple(rows), made, mark["files"])

    def finished(
        self, keys: Iterable[str], tell: "Callable[[CorruptArtifact], None] | None" = None
    ) -> "dict[str, Kept]":
        """Those of `keys` that are finished, from the index where it has them.

        tell: of the trials that are not what a run writes, which are passed over; None: raises CorruptArtifact.
        """
        from benchmark.results.trial_index import WHOLE, Index, signature

        wanted, index = set(keys), Index(self.storage, WHOLE)
        signed = {signature(key, files): key for key, files in self.folders() if key in wanted}
        found: dict[str, Kept] = {}
        with contextlib.suppress(*UNREADABLE):  # the trials themselves say it all
            found |= {signed[one]: kept for one, kept in index.kept(signed.keys()) if not _odd(kept)}

        def look(key: str) -> "Kept | CorruptArtifact | None":
            try:
                return self.examined(key)
            except CorruptArtifact as error:
                return error

        left = [key for key in signed.values() if key not in found]
        for key, kept in zip(left, finished_trials.side_by_side(self.storage, look, left), strict=True):
            if isinstance(kept, CorruptArtifact):
                if tell is None:
                    raise kept
                tell(kept)
            elif kept is not None:
                found[key] = kept
            elif tell is not None and (reason := fault(self.storage, key)) and reason != NO_MARK:
                tell(CorruptArtifact(key, *reason.split(": ", 1)))
        return found

    def folders(self) -> Iterator[tuple[str, Tree]]:
        """Every trial's folder with what lies in it, finished or not."""
        names = finished_trials.prefixes(self.storage)
        for start in range(0, len(names), self.storage.parallel):
            part = names[start : start + self.storage.parallel]
            for found in finished_trials.side_by_side(self.storage, self._trials_of, part):
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
        """The trial itself: its settings, seed and inputs. Raises CorruptArtifact, as all methods that read a trial."""
        return Trial.from_json(self._mark(key)["trial"])

    def provenance(self, key: str) -> dict[str, Any]:
        return dict(self._mark(key)["provenance"])

    def rows(self, key: str) -> "pa.Table":
        """Rows of a trial in the columns of `schema.ROWS`."""
        from benchmark.schema import ROWS, completed

        return completed(self.table(key, "rows"), ROWS)

    def table(
        self,
        key: str,
        name: str,
        columns: "pa.Schema | None" = None,
        most_rows: int = MOST_TABLE_ROWS,
        most_bytes: int = MOST_TABLE_BYTES,
    ) -> "pa.Table":
        """A table that the trial wrote, verified. columns, most_rows, most_bytes: see `read_parquet`.

        Raises CorruptArtifact, with TooMuch as its cause where the table is too large; ValueError for another name.
        """

        def load(found: Path | bytes) -> "pa.Table":
            return read_parquet(found, most_rows, most_bytes, columns)

        found: pa.Table | None = self._verified(key, f"{name}.parquet", load, most_bytes)
        if found is None:
            wrote = ", ".join(self._mark(key)["files"])
            raise ValueError(f"table {name!r} was not written by trial {key}; it wrote {wrote}")
        return found

    def sizes(self, key: str) -> dict[str, int]:
        """Name -> bytes of the files that the trial wrote. Raises CorruptArtifact."""
        return {name: file["bytes"] for name, file in self._mark(key)["files"].items()}

    def tensors(self, key: str) -> "dict[str, torch.Tensor]":
        """The tensors that the trial wrote, verified, on the CPU; empty if it wrote none."""
        return self._verified(key, "tensors.safetensors", read_tensors) or {}

    def tensor_names(self, key: str) -> set[str]:
        """Of what the trial wrote, without torch; empty if it wrote none. Raises CorruptArtifact."""
        return self._verified(key, "tensors.safetensors", read_tensor_names) or set()

    def arrays(self, key: str, *names: str) -> "list[npt.NDArray[Any]]":
        """Some of the tensors that the trial wrote, as numpy arrays, without torch. Raises CorruptArtifact."""
        found = self._verified(key, "tensors.safetensors", lambda file: read_arrays(file, names))
        if found is None:
            raise CorruptArtifact(key, "tensors.safetensors", "it was not written")
        return found

    def _mark(self, key: str) -> dict[str, Any]:
        try:
            return read_mark(self.storage, key)
        except UNREADABLE as error:
            raise CorruptArtifact(key, MARK, f"cannot be read ({type(error).__name__}: {error})") from error

    def _verified(
        self, key: str, name: str, load: Callable[[Path | bytes], T], most: int = MOST_FILE_BYTES
    ) -> T | None:
        """Load a file that hashes to what the mark says; None if the mark does not name it.

        most: bytes; a larger file is not opened. load: may raise ValueError.

        Looks three times, since another process may be putting the same trial in place; and again where it did.
        """
        problem = CorruptArtifact(key, name, "its sha256 is not the one that was written")
        looks, files, before = 0, None, None
        for _ in range(_MOST_LOOKS):
            try:
                files = self._mark(key)["files"]
                expected = files.get(name)
                if expected is None:
                    return None
                if expected["bytes"] > most:
                    raise TooMuch(f"{expected['bytes']} bytes; allowed: at most {most}")
                file = f"{place(key)}/{self.storage.file_name(name, expected['sha256'])}"
                found = self.storage.verified(file, expected["sha256"], expected["bytes"])
                if found is not None:
                    return load(found)
            except ValueError as error:
                problem = CorruptArtifact(key, name, str(error))
                if not isinstance(error.__cause__, FileNotFoundError):  # else it was replaced while it was opened
                    raise problem from error
            except OSError as error:
                problem = CorruptArtifact(key, name, f"cannot be read ({error.strerror})")
            except CorruptArtifact as error:
                problem = error
            looks, before = (looks + 1 if files == before else 1), files
            if looks > len(_PAUSES_S):
                break
            time.sleep(_PAUSES_S[looks - 1])
        raise problem

    def check(self) -> list[Problem]:
        """What does not belong in the results folder; see `set_aside`."""
        return self.scan()[1]

    def scan(self, seen: "Seen | None" = None) -> tuple[set[str], list[Problem]]:
        """(keys of the finished trials, what `check` finds), in one pass. seen: see `finished_trials.scan`."""
        return finished_trials.scan(self.storage, seen)

    def signature(self, key: str) -> bytes:
        """The signature of a trial and its files, see `trial_index.signature`; empty if they cannot be listed."""
        from benchmark.results.trial_index import signature

        try:
            return signature(key, self.storage.tree(place(key), 1))
        except OSError:
            return b""

    def set_aside(self, name: str, reason: str) -> str:
        """Move a trial (by key) or a file or folder (by its relative name) out of the way; nothing is deleted.

        Returns where it is now, with the reason.
        """
        return set_aside(self.storage, place(name) if KEY.fullmatch(name) else name, reason)

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


def _odd(kept: "Kept") -> bool:
    return bool(odd_rows(kept.rows) or odd_provenance(kept.made))
