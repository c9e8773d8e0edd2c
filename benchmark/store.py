"""The only writer of results: one folder a trial, its mark `trial.json` written last.

    trials/ab/<key>/rows.parquet, tensors.safetensors, <table>.parquet, trial.json
    failures/<key>.json    plans/<suite>.json    set_aside/<time>-<name>/

A trial is written under a hidden name beside its place and renamed as a whole, so that a reader
sees one execution or nothing, whoever else writes the same trial at the same time.
"""

import contextlib
import errno
import hashlib
import json
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from benchmark.durable import StoreFull, is_full, replace_file, sync_folder, write_new
from benchmark.inspection import KEY, MARK, Problem, fault, record, scan
from benchmark.plan_record import pack, unpack
from benchmark.trial import Outcome, Trial

if TYPE_CHECKING:
    import pyarrow as pa
    import torch

    from benchmark.plan import Node, Plan

T = TypeVar("T")
_ABANDONED_S = 7 * 86400.0
"""The state of a training that nobody went on with for so long is let go."""
_LARGEST_PROGRESS = 4 * 2**30
_STALE_S = 3600.0
"""A hidden folder this old belongs to a killed run: writing a finished trial takes seconds."""


class CorruptArtifact(Exception):
    """A file of a finished trial is missing or is not what was written: recompute the trial."""

    def __init__(self, key: str, file: str, reason: str) -> None:
        self.key, self.file, self.reason = key, file, reason
        super().__init__(f"trial {key}: {file}: {reason}")


class Kept(NamedTuple):
    """A finished trial without its artifacts.

    rows: dicts of `schema.ROWS`. made: columns of `schema.PROVENANCE`. content: hash of all that it wrote.
    """

    rows: tuple[dict[str, Any], ...]
    made: dict[str, Any]
    content: str


class Store:
    """Results of trials in a local or NFS folder. Only JSON, Parquet and safetensors."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).absolute()

    def folder(self, key: str) -> Path:
        return self.root / "trials" / key[:2] / key

    def writable(self) -> None:
        """Create the folder if need be. Raises ValueError with one line where it cannot be written."""
        probe = self.root / f".probe.{uuid.uuid4().hex}.tmp"
        try:
            (self.root / "trials").mkdir(parents=True, exist_ok=True)
            write_new(probe, b"\0" * 4096)
        except OSError as error:
            if is_full(error):
                raise StoreFull(self.root) from error
            raise ValueError(
                f"results: {str(self.root)!r} cannot be written ({error.strerror}); "
                "allowed: a folder that you may create or write to"
            ) from error
        finally:
            with contextlib.suppress(OSError):  # where it could not be written there is nothing to remove
                probe.unlink()

    def has(self, key: str) -> bool:
        """Is the trial finished, with every file there, of its size, and its rows whole?"""
        return not fault(self.folder(key))

    def verify(self, key: str) -> str:
        """Re-hashes every file: why the trial must be computed again; empty if it must not."""
        reason = fault(self.folder(key))
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

        key, final = trial.key, self.folder(trial.key)
        files = encode(trial, outcome, provenance)
        mark = {
            "schema_version": SCHEMA_VERSION,
            "key": key,
            "trial": trial.to_json(),
            "files": {n: {"bytes": len(c), "sha256": hashlib.sha256(c).hexdigest()} for n, c in files.items()},
            "provenance": dict(provenance),
        }
        hidden = _beside(final)
        try:
            hidden.mkdir(parents=True)
            for name, content in files.items():
                _write_artifact(hidden / name, content)
            write_new(hidden / MARK, _json(mark))
            sync_folder(hidden)
            _put_in_place(hidden, final)
        except OSError as error:
            shutil.rmtree(hidden, ignore_errors=True)
            if is_full(error):
                raise StoreFull(self.root) from error
            raise

    def finished(self, keys: Iterable[str]) -> dict[str, Kept]:
        """Those of `keys` that are finished, as `has` says, with their rows. Raises CorruptArtifact."""
        found = {}
        for key in keys:
            if self.has(key):
                mark = self._mark(key)
                content = hashlib.sha256(json.dumps(mark["files"], sort_keys=True).encode()).hexdigest()
                found[key] = Kept(tuple(self.rows(key).to_pylist()), mark["provenance"], content)
        return found

    def derived(self, name: str) -> bytes | None:
        """What `keep_derived` kept under a name; None if there is nothing."""
        try:
            return (self.root / "index" / name).read_bytes()
        except OSError:
            return None

    def keep_derived(self, name: str, content: bytes) -> None:
        """Keep what can be made again from the results, where the folder can be written."""
        with contextlib.suppress(OSError, StoreFull):
            replace_file(self.root / "index" / name, content)

    def keys(self) -> list[str]:
        """Keys of the trials that have a mark, sorted; `has` says whether they are whole."""
        marks = (self.root / "trials").glob(f"??/*/{MARK}")
        return sorted(mark.parent.name for mark in marks if KEY.fullmatch(mark.parent.name))

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
        import pyarrow.parquet as pq

        found: pa.Table | None = self._verified(key, f"{name}.parquet", lambda path: pq.ParquetFile(path).read())
        if found is None:
            wrote = ", ".join(self._mark(key)["files"])
            raise ValueError(f"table {name!r} was not written by trial {key}; it wrote {wrote}")
        return found

    def wrote(self, key: str, name: str) -> bool:
        """Whether the trial wrote a table of this name. Raises CorruptArtifact."""
        return f"{name}.parquet" in self._mark(key)["files"]

    def tensors(self, key: str) -> "dict[str, torch.Tensor]":
        """The tensors that the trial wrote, verified, on the CPU; empty if it wrote none."""
        from safetensors.torch import load_file

        return self._verified(key, "tensors.safetensors", load_file) or {}

    def _mark(self, key: str) -> dict[str, Any]:
        try:
            mark: dict[str, Any] = json.loads((self.folder(key) / MARK).read_bytes())
            return {name: mark[name] for name in ("key", "trial", "files", "provenance")}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CorruptArtifact(key, MARK, f"cannot be read ({type(error).__name__}: {error})") from error

    def _verified(self, key: str, name: str, load: Callable[[Path], T]) -> T | None:
        """Load a file that hashes to what the mark says; None if the mark does not name it.

        Looks three times, since another process may be putting the same trial in place.
        """
        problem = CorruptArtifact(key, name, "its sha256 is not the one that was written")
        for pause in (0.02, 0.1, 0.0):
            try:
                expected, path = self._mark(key)["files"].get(name), self.folder(key) / name
                if expected is None:
                    return None
                with path.open("rb") as file:
                    found = hashlib.file_digest(file, "sha256").hexdigest()
                if found == expected["sha256"]:
                    return load(path)
            except OSError as error:
                problem = CorruptArtifact(key, name, f"cannot be read ({error.strerror})")
            except CorruptArtifact as error:
                problem = error
            time.sleep(pause)
        raise problem

    def check(self) -> list[Problem]:
        """What does not belong in the results folder; see `set_aside`."""
        return scan(self.root)[1]

    def scan(self) -> tuple[set[str], list[Problem]]:
        """(keys of the finished trials, what `check` finds), in one pass."""
        return scan(self.root)

    def set_aside(self, what: str | Path, reason: str) -> Path:
        """Move a trial (by key) or a path out of the way, with the reason; nothing is deleted."""
        source = what if isinstance(what, Path) else self.folder(what)
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        target = self.root / "set_aside" / f"{stamp}-{source.name[:100]}"
        target.mkdir(parents=True)
        (target / "reason.txt").write_text(f"{source.relative_to(self.root)}\n{reason}\n")
        with contextlib.suppress(FileNotFoundError):  # another run has just set it aside
            source.rename(target / source.name)
        return target

    def clear_stale(self) -> None:
        """Remove what killed runs were writing, which has no mark and so was never a result, and old progress."""
        for hidden in (self.root / "trials").glob("??/.*.tmp"):
            with contextlib.suppress(FileNotFoundError):  # its writer has just put it in place
                if time.time() - hidden.stat().st_mtime > _STALE_S:
                    shutil.rmtree(hidden, ignore_errors=True)
        for path in (self.root / "progress").glob("*"):
            with contextlib.suppress(FileNotFoundError):
                written = path.name.startswith(".") or (self.folder(path.stem) / MARK).exists()
                if time.time() - path.stat().st_mtime > (_STALE_S if written else _ABANDONED_S):
                    path.unlink()

    def progress(self, key: str) -> bytes | None:
        """What `keep_progress` wrote last for a trial that is not finished; None if nothing. Raises OSError."""
        path = self._progress(key)
        return path.read_bytes() if path.is_file() and path.stat().st_size <= _LARGEST_PROGRESS else None

    def keep_progress(self, key: str, content: bytes) -> None:
        """Keep the state of a training beside the trials. Raises StoreFull, OSError."""
        replace_file(self._progress(key), content)

    def clear_progress(self, key: str) -> None:
        self._progress(key).unlink(missing_ok=True)

    def has_blob(self, sha256: str) -> bool:
        """Is a file of this content kept? By name; `get_blob` hashes it."""
        return self._blob(sha256).is_file()

    def put_blob(self, sha256: str, path: Path) -> None:
        """Keep a local file under its hash. Raises ValueError where its content is another."""
        _copy(path, self._blob(sha256), sha256)

    def get_blob(self, sha256: str, target: Path) -> None:
        """Copy a kept file to a local path, which appears when it is whole and hashes to `sha256`.

        Raises ValueError where it does not, FileNotFoundError where none is kept.
        """
        _copy(self._blob(sha256), target, sha256)

    def _blob(self, sha256: str) -> Path:
        return self.root / "files" / sha256[:2] / sha256

    def _progress(self, key: str) -> Path:
        return self.root / "progress" / f"{key}.safetensors"

    def write_failure(self, node: "Node", traceback: str, attempts: int) -> None:
        """Keep why a trial failed, for people; it is no result and is tried again."""
        failure = {"record": "failures", **_labels(node), "traceback": traceback, "attempts": attempts}
        failure["created_utc"] = datetime.now(UTC).isoformat(timespec="seconds")
        replace_file(self._failure(node.key), _json(failure))

    def failures(self) -> dict[str, dict[str, Any]]:
        """Key -> what `write_failure` kept. What cannot be read is left to `check`."""
        found = (record(path) for path in sorted((self.root / "failures").glob("*.json")))
        return {failure["key"]: failure for failure in found if failure is not None}

    def clear_failure(self, key: str) -> None:
        self._failure(key).unlink(missing_ok=True)

    def _failure(self, key: str) -> Path:
        return self.root / "failures" / f"{key}.json"

    def write_plan(self, plan: "Plan", about: Mapping[str, Any]) -> None:
        """Keep the trials of a suite, so that its page can be rebuilt from the store alone, at any time.

        about: JSON of the caller's choice, such as the text and the path of the suite file.
        """
        name = hashlib.sha256(plan.suite.encode()).hexdigest()[:16]
        replace_file(self.root / "plans" / f"{name}.json", pack(plan, about))

    def plans(self) -> list[dict[str, Any]]:
        """What `write_plan` kept, a suite each, see `plan_record.unpack`. What cannot be read is left to `check`."""
        found = []
        for path in sorted((self.root / "plans").glob("*.json")):
            plan = record(path)
            with contextlib.suppress(ValueError):
                found += [] if plan is None else [unpack(plan)]
        return found


def _labels(node: "Node") -> dict[str, Any]:
    return {name: getattr(node, name) for name in ("key", "stage", "method", "model", "replica")}


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=1, allow_nan=False).encode()


def _copy(source: Path, target: Path, sha256: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = _beside(target)
    try:
        shutil.copyfile(source, beside)
        with beside.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256:
            raise ValueError(f"file {str(source)!r} has the sha256 {found}; allowed: {sha256}")
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")


def _write_artifact(path: Path, content: bytes) -> None:
    write_new(path, content)
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        pq.read_metadata(path)


def _put_in_place(hidden: Path, final: Path) -> None:
    """Rename the folder to its place; an earlier result there, or that of another process, gives way."""
    earlier: list[Path] = []
    while True:
        try:
            hidden.rename(final)
            break
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            earlier.append(_beside(final))
            with contextlib.suppress(FileNotFoundError):  # the other process moved it first
                final.rename(earlier[-1])
    sync_folder(final.parent)
    for folder in earlier:
        shutil.rmtree(folder, ignore_errors=True)
