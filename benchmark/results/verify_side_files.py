"""Checks, for `bench verify`, the files that no trial's mark has the hash of: the marks themselves and all records.

A check says what is wrong, empty if nothing is, and whether the file is of a version that wrote no checksum. Of such a
one it knows what its text must look like, and what else in the folder says the same. Checks raise OSError.
"""

import errno
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmark.results.finished_trials import KEY, UNREADABLE, record
from benchmark.results.plan_record import packed, unpack
from benchmark.results.store import CorruptArtifact, Store
from benchmark.schema import PROVENANCE
from benchmark.storage import Storage, TooLarge
from benchmark.storage.checksum import NAME, is_sealed
from benchmark.trials.training_progress import opened
from benchmark.trials.trial import Trial

OTHER = "its sha256 is not the one that was written"
_UNUSUAL = "damaged: not the text that a run writes"
_OF_MARK = {"schema_version", "key", "trial", "files", "provenance"}
_HASHED = re.compile(r"([0-9a-f]{16})\.(parquet|seen)")
_AGGREGATES = re.compile(r"aggregates-[0-9a-f]{16}\.json")
_MOST_BYTES = 4 * 2**30
_OF_THE_FILE = (errno.EIO, errno.ELOOP, errno.EINVAL)
"""A bad block, a link, a pipe; not, for example, a lack of permission."""


def unreadable(storage: Storage, error: OSError) -> str:
    """What is wrong with a file that cannot be read. Raises the error where the fault is not the file's."""
    if isinstance(error, FileNotFoundError):
        return "missing"
    local = isinstance(storage.root, Path)  # in a bucket any error may be that of an hour
    if isinstance(error, TooLarge) or (local and error.errno in _OF_THE_FILE):
        return f"cannot be read ({error.strerror})"
    raise error


def unproven_mark(store: Store, key: str, content: bytes) -> str:
    """Of a mark without a checksum that can be read: its text, and where it comes from, which its rows say too."""
    mark = json.loads(content)
    if mark.keys() != _OF_MARK or _as_json(mark) != content:
        return _UNUSUAL
    try:
        table = store.rows(key)
    except (CorruptArtifact, ValueError) as error:
        return f"its rows cannot be read ({error})"
    said = {**mark["provenance"], "trial_key": key, "schema_version": mark["schema_version"]}
    for name in (*(name for name, _, _ in PROVENANCE), "schema_version"):
        for value in table[name].unique().to_pylist():
            if value != said.get(name):
                return f"damaged: it says {name} {said.get(name)!r}, its rows say {value!r}"
    return ""


def _plan(storage: Storage, folder: str, name: str) -> tuple[str, bool]:
    content = storage.read(f"{folder}/{name}")
    value = record(storage, f"{folder}/{name}")
    if value is None:
        return "foreign or damaged: not a record of a run", False
    if name != f"{hashlib.sha256(value['suite'].encode()).hexdigest()[:16]}.json":
        return "foreign: another suite's name", False
    if is_sealed(content):
        return "", False
    if content not in (packed(value), _as_json(value)):
        return _UNUSUAL, True
    wrong = (node["key"] for node in unpack(value)["nodes"] if Trial.from_json(node["trial"]).key != node["key"])
    key = next(wrong, "")
    return (f"damaged: trial {key} has another key" if key else ""), True


def _failure(storage: Storage, folder: str, name: str) -> tuple[str, bool]:
    content = storage.read(f"{folder}/{name}")
    value = record(storage, f"{folder}/{name}")
    if value is None or name != f"{value['key']}.json":
        return "foreign or damaged: not a record of a run", False
    sealed = is_sealed(content)
    return ("" if sealed or content == _as_json(value) else _UNUSUAL), not sealed


def _derived(storage: Storage, folder: str, name: str) -> tuple[str, bool]:
    if hashed := _HASHED.fullmatch(name):
        return ("" if storage.digest(f"{folder}/{name}").startswith(hashed[1]) else OTHER), False
    if not _AGGREGATES.fullmatch(name):
        return "foreign: no run leaves it there", False
    content = storage.read(f"{folder}/{name}", most=_MOST_BYTES)
    if is_sealed(content):
        return "", False
    try:
        value = json.loads(content)
        older = value.keys() == {"record", "rows"} and json.dumps(value).encode() == content
    except UNREADABLE:
        older = False
    return ("" if older else OTHER), older


def _progress(storage: Storage, folder: str, name: str) -> tuple[str, bool]:
    try:
        about, _ = opened(storage.read(f"{folder}/{name}", most=_MOST_BYTES))
    except ValueError as error:
        return f"damaged: {error}", False
    return ("" if name == f"{about['key']}.safetensors" else "foreign: another trial's name"), NAME not in about


def _blob(storage: Storage, folder: str, name: str) -> tuple[str, bool]:
    if not KEY.fullmatch(name) or folder != f"files/{name[:2]}":
        return "foreign: no run leaves it there", False
    return ("" if storage.digest(f"{folder}/{name}") == name else OTHER), False


def _as_json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=1).encode()


Check = Callable[[Storage, str, str], tuple[str, bool]]
KINDS: dict[str, tuple[Check, str]] = {
    "plans": (_plan, "`bench run` of its suite writes it again"),
    "failures": (_failure, "`bench run` tries its trial again"),
    "files": (_blob, "`bench run` on a cluster sends it again"),
    "index": (_derived, "it is derived and made anew"),
    "progress": (_progress, "its training begins anew"),
}
"""Folder -> its check, of (storage, folder, name), and what becomes of a file that is set aside."""
