"""Files beside the trials in a results folder, which are no results: failures, plans, progress, sent files, indices.

failures/<key>.json    plans/<suite>.json    progress/<key>.safetensors
files/ab/<sha256>      index/<name>
"""

import contextlib
import hashlib
import json
import time
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.machine.durable_files import StoreFull
from benchmark.planning.suite_description_shape import is_about
from benchmark.reading.json_and_parquet import parse
from benchmark.reading.plausible_values import LONGEST_TEXT
from benchmark.reading.text import shortened
from benchmark.results.finished_trials import (
    UNREADABLE,
    place,
    plan_name,
    record,
    record_names,
    records,
    unsound_records,
)
from benchmark.results.plan_record import pack, unpack
from benchmark.storage import MARK, MOST_BYTES, Leaf, Storage
from benchmark.storage.checksum import seal

if TYPE_CHECKING:
    from benchmark.planning.plan import Node, Plan

_ABANDONED_S = 7 * 86400.0
"""The state of a training that nobody went on with for so long is let go."""
_LARGEST_PROGRESS = 4 * 2**30


class Records:
    """Failures, plans, the progress of unfinished trials, files that trials need, and what is derived from results."""

    def __init__(self, storage: Storage) -> None:
        self.storage, self.root = storage, storage.root

    def write_failure(self, node: "Node", traceback: str, attempts: int) -> None:
        """Keep why a trial failed, for people; it is no result and is tried again."""
        labels = {name: getattr(node, name) for name in ("key", "stage", "method", "model", "replica")}
        text = shortened(traceback, LONGEST_TEXT)
        failure = {"record": "failures", **labels, "traceback": text, "attempts": attempts}
        failure["created_utc"] = datetime.now(UTC).isoformat(timespec="seconds")
        self.storage.write(_failure(node.key), seal(json.dumps(failure, indent=1).encode()))

    def unsound_records(self) -> list[str]:
        """Names of the files in `failures/` and `plans/` that hold no record of a run."""
        return unsound_records(self.storage)

    def failures(self) -> dict[str, dict[str, Any]]:
        """Key -> what `write_failure` kept. What cannot be read is left to `check`."""
        return {failure["key"]: failure for failure in records(self.storage, "failures")}

    def clear_failure(self, key: str) -> None:
        self.storage.remove(_failure(key))

    def write_plan(self, plan: "Plan", about: Mapping[str, Any]) -> None:
        """Keep the trials of a suite, so that its page can be rebuilt from the store alone, at any time.

        about: JSON of the caller's choice, such as the text and the path of the suite file.
        """
        self.storage.write(f"plans/{plan_name(plan.suite)}.json", seal(pack(plan, about)))

    def last_plan(self, suite: str) -> dict[str, Any]:
        """What `write_plan` wrote last for a suite of this name, as it was packed; empty if there is nothing.

        Not looked through as `plans` does, which takes long for many trials: only its `about` is of the right shape.
        """
        try:
            found: dict[str, Any] = parse(self.storage.read(f"plans/{plan_name(suite)}.json"))
            return found if is_about(found["about"]) else {}
        except UNREADABLE:
            return {}

    def plans(self) -> Iterator[dict[str, Any]]:
        """What `write_plan` kept, a suite each, see `plan_record.unpack`. What cannot be read is left to `check`.

        One at a time: each may take hundreds of megabytes.
        """
        for name in record_names(self.storage, "plans"):
            plan = record(self.storage, name)
            if plan is not None:
                yield unpack(plan)

    def progress(self, key: str) -> bytes | None:
        """What `keep_progress` wrote last for a trial that is not finished; None if nothing that can be read."""
        try:
            return self.storage.read(_progress(key), most=_LARGEST_PROGRESS)
        except OSError:  # the training begins anew
            return None

    def keep_progress(self, key: str, content: bytes) -> None:
        """Keep the state of a training beside the trials. Raises StoreFull, OSError."""
        self.storage.write(_progress(key), content)

    def clear_progress(self, key: str) -> None:
        self.storage.remove(_progress(key))

    def clear_old_progress(self, stale_s: float) -> None:
        """Remove what nobody went on with for a week, or which is older than `stale_s` and whose trial is finished."""
        for name, leaf in self.storage.tree("progress", 1).items():
            key = name.removesuffix(".safetensors")
            age = time.time() - leaf.modified if isinstance(leaf, Leaf) else 0.0
            if age > stale_s:
                over = self.storage.hidden(name)
                with contextlib.suppress(ValueError):  # what is no key is left alone
                    over = over or MARK in self.storage.tree(place(key), 1)
                if over or age > _ABANDONED_S:
                    self.storage.remove(f"progress/{name}")

    def has_blob(self, sha256: str) -> bool:
        """Is a file of this content kept? By name; `get_blob` hashes it."""
        folder, _, name = blob(sha256).rpartition("/")
        return name in self.storage.tree(folder, 1)

    def put_blob(self, sha256: str, path: Path) -> None:
        """Keep a local file under its hash. Raises ValueError where its content is another."""
        _expect(path, sha256, str(path))
        self.storage.upload(path, blob(sha256))

    def get_blob(self, sha256: str, target: Path) -> None:
        """Copy a kept file to a local path, which appears when it is whole and hashes to `sha256`.

        Raises ValueError where it does not, FileNotFoundError where none is kept.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
        try:
            self.storage.download(blob(sha256), beside)
            _expect(beside, sha256, f"{self.root}/{blob(sha256)}")
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)

    def derived(self, name: str) -> bytes | None:
        """What `keep_derived` kept under a name; None if there is nothing."""
        try:
            return self.storage.read(f"index/{name}", most=4 * MOST_BYTES)
        except OSError:
            return None

    def keep_derived(self, name: str, content: bytes) -> None:
        """Keep what can be made again from the results, where the folder can be written."""
        with contextlib.suppress(OSError, StoreFull):
            self.storage.write(f"index/{name}", content)


def _failure(key: str) -> str:
    place(key)  # refuses what is no key
    return f"failures/{key}.json"


def _progress(key: str) -> str:
    place(key)
    return f"progress/{key}.safetensors"


def blob(sha256: str) -> str:
    """The name of the file with this content. Raises ValueError for what is no hash."""
    place(sha256)
    return f"files/{sha256[:2]}/{sha256}"


def _expect(path: Path, sha256: str, name: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise ValueError(f"file {name!r} has the sha256 {found}; allowed: {sha256}")
