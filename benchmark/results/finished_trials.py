"""Finds the finished trials of a results folder, and what in it is damaged or foreign. Changes nothing."""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from benchmark.planning.suite_description_shape import is_about
from benchmark.reading.json_and_parquet import parse, parse_encodable
from benchmark.reading.plausible_values import KEY as KEY
from benchmark.reading.plausible_values import is_count, is_failure, is_heartbeat, odd_provenance
from benchmark.reading.text import shown
from benchmark.results.plan_record import sound
from benchmark.storage import MARK, MOST_BYTES, Leaf, Storage, Tree
from benchmark.storage.checksum import is_broken
from benchmark.trials.trial import Trial

if TYPE_CHECKING:
    from benchmark.results.scan_cache import Seen
    from benchmark.results.trial_index import Index

T = TypeVar("T")
R = TypeVar("R")
ROWS = "rows.parquet"
NO_MARK = f"{MARK}: missing"
"""Of a trial that is not finished, or is being written."""
MOST_MARK_BYTES = 2**20
MOST_ROWS_BYTES = 16 * 2**20
MOST_FILE_BYTES = 2**40
_MOST_RECORD_BYTES = {"failures": 2**20, "running": 8 * 2**20}
"""By kind; a plan may have what any JSON may have."""
_FILE = re.compile(r"[a-z0-9_]{1,100}\.(parquet|safetensors)")
UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, ArithmeticError)
"""What reading JSON of an unknown hand may raise."""


@dataclass(frozen=True)
class Problem:
    """Something in the results folder that no run leaves there.

    name: what to set aside, relative to the results folder. key: the trial that is lost with it, empty for a
    foreign file.
    """

    name: str
    reason: str
    key: str = ""


def place(key: str) -> str:
    """The folder of a trial in the results folder. Raises ValueError for what is no key."""
    if not KEY.fullmatch(key):
        raise ValueError(f"trial {key[:80]!r}: no key; allowed: 64 digits 0-9 and a-f")
    return f"trials/{key[:2]}/{key}"


def read_mark(storage: Storage, key: str) -> dict[str, Any]:
    """The mark of a trial, checked: its key, its trial, and per file its size and hash. Raises as UNREADABLE says."""
    return checked_mark(storage.read(f"{place(key)}/{MARK}", most=MOST_MARK_BYTES), key)


def checked_mark(content: bytes, key: str) -> dict[str, Any]:
    """As `read_mark`, of a mark whose JSON was read already."""
    mark = parse(content)
    trial, files = mark["trial"], mark["files"]
    if is_broken(content, mark):
        raise ValueError("its checksum is not the one that was written")
    if mark["key"] != key or Trial.from_json(trial).key != key:
        raise ValueError("its key is not that of the folder or of the trial in it")
    for name, file in files.items():
        size, sha256 = file["bytes"], file["sha256"]
        most = MOST_ROWS_BYTES if name == ROWS else MOST_FILE_BYTES
        if not _FILE.fullmatch(name) or not is_count(size, most) or not KEY.fullmatch(sha256):
            raise ValueError(f"{shown(name)}: no name, size and hash of a trial's file")
    if ROWS not in files:
        raise ValueError(f"it names no {ROWS}")
    made = mark["provenance"]
    if not isinstance(made, dict):
        raise ValueError("its provenance is no object")
    if odd := odd_provenance(made):
        raise ValueError(odd)
    return {"trial": trial, "files": files, "provenance": made}


def fault(storage: Storage, key: str) -> str:
    """Why the trial is not finished; empty if it is.

    Cheap, since a resume asks it for every trial: one listing, the sizes, the mark, the hash of the rows where they
    do not lie under their hash. The hash stands for the footer, which was read back before the mark was written.
    """
    try:
        return _examined(storage, key, storage.tree(place(key), 1))[0]
    except (OSError, ValueError) as error:
        return f"{MARK}: cannot be read ({type(error).__name__}: {error})"


def _examined(storage: Storage, key: str, there: Tree) -> tuple[str, set[str]]:
    """(what `fault` says, names that the trial's files have there)."""
    name, known = MARK, {MARK}
    try:
        if MARK not in there:
            return NO_MARK, known
        for name, file in read_mark(storage, key)["files"].items():
            stored = storage.file_name(name, file["sha256"])
            known.add(stored)
            leaf = there.get(stored)
            if reason := size_fault(leaf, file["bytes"]):
                return f"{name}: {reason}", known
            if name == ROWS == stored:
                content = storage.read(f"{place(key)}/{ROWS}", most=MOST_ROWS_BYTES)
                if hashlib.sha256(content).hexdigest() != file["sha256"]:
                    return f"{ROWS}: its sha256 is not the one that was written", known
    except UNREADABLE as error:
        return f"{name}: cannot be read ({type(error).__name__}: {error})", known
    return "", known


def size_fault(found: Tree | Leaf | None, written: int) -> str:
    """Why a file cannot have this size; empty if it can."""
    if found is None:
        return "missing"
    if not isinstance(found, Leaf) or found.odd:
        return f"foreign ({found.odd if isinstance(found, Leaf) else 'a folder'})"
    return "" if found.bytes == written else f"truncated or foreign ({found.bytes} bytes, written were {written})"


def scan(storage: Storage, seen: "Seen | None" = None) -> tuple[set[str], list[Problem]]:
    """(keys of the finished trials, problems) of a results folder, in one pass.

    seen: told of the trials that had to be looked at and are whole.
    Names that begin with a dot are left alone: files being written, and the system's own.
    """
    from benchmark.results.scan_cache import Seen
    from benchmark.results.trial_index import Index  # with pyarrow, which a driver's start need not wait for

    index, seen = Index(storage), seen or Seen(storage)
    problems = [Problem(name, reason) for name, reason in (*index.problems, *seen.problems)]
    # First, since a plan needs memory while it is read.
    problems += [Problem(name, "foreign or truncated: not a record of a run") for name in unsound_records(storage)]
    for prefix, kind in _visible(storage, storage.tree("trials", 1)):
        if not re.fullmatch("[0-9a-f]{2}", prefix) or isinstance(kind, Leaf):
            problems.append(Problem(f"trials/{prefix}", "foreign: not a folder of trials"))
    done: set[str] = set()
    look = partial(_scan_prefix, storage, index, seen)
    for whole, wrong in side_by_side(storage, look, prefixes(storage)):
        done |= whole
        problems += wrong
    return done, problems


def prefixes(storage: Storage) -> list[str]:
    """The folders in `trials/`, named by the first two digits of the keys in them."""
    found = sorted(storage.tree("trials", 1).items())
    return [prefix for prefix, kind in found if re.fullmatch("[0-9a-f]{2}", prefix) and not isinstance(kind, Leaf)]


def _scan_prefix(storage: Storage, index: "Index", seen: "Seen", prefix: str) -> tuple[set[str], list[Problem]]:
    from benchmark.results.trial_index import signature

    done: set[str] = set()
    problems: list[Problem] = []
    for key, files in _visible(storage, storage.tree(f"trials/{prefix}", 2)):
        name = f"trials/{prefix}/{key}"
        if not KEY.fullmatch(key) or key[:2] != prefix or isinstance(files, Leaf):
            problems.append(Problem(name, "foreign: not the folder of a trial"))
            continue
        signed = signature(key, files)
        if signed in index or seen.holds(signed):
            done.add(key)
            continue
        if files and all(storage.hidden(file) for file in files):  # being written
            continue
        reason, known = _examined(storage, key, files)
        if reason:
            problems.append(Problem(name, reason, key))
            continue
        done.add(key)
        visible = [file for file, _ in _visible(storage, files) if file not in known]
        if not visible:
            seen.add(signed)
        problems += [Problem(f"{name}/{file}", "foreign: no file of this trial") for file in visible]
    return done, problems


def record(storage: Storage, name: str) -> dict[str, Any] | None:
    """The JSON object in a file of `failures/`, `plans/` or `running/`; None if that is not what it holds."""
    kind, _, file = name.partition("/")
    try:
        content = storage.read(name, most=_MOST_RECORD_BYTES.get(kind, MOST_BYTES))
        value = parse_encodable(content)
    except (OSError, ValueError):
        return None
    known = isinstance(value, dict) and value.get("record") == kind and file.endswith(".json")
    known = known and not is_broken(content, value)
    return value if known and _SHAPES[kind](value, file.removesuffix(".json")) else None


_SHAPES: dict[str, Callable[[Mapping[str, Any], str], bool]] = {
    "plans": lambda value, name: sound(value) and plan_name(value["suite"]) == name and is_about(value.get("about")),
    "failures": lambda value, name: is_failure(value) and value["key"] == name,
    "running": lambda value, _: is_heartbeat(value),
}


def record_names(storage: Storage, kind: str) -> list[str]:
    return [f"{kind}/{name}" for name, _ in _visible(storage, storage.tree(kind, 1))]


def unsound_records(storage: Storage) -> list[str]:
    """Names of the files in `failures/`, `plans/` and `running/` that hold no record of a run."""

    def names() -> list[str]:
        return [name for kind in _SHAPES for name in record_names(storage, kind)]

    looked = names()
    found = side_by_side(storage, lambda name: record(storage, name) is None, looked)
    unsound = {name for name, none in zip(looked, found, strict=True) if none}
    return [name for name in names() if name in unsound] if unsound else []  # others are gone meanwhile


def plan_name(suite: str) -> str:
    """The name of the file of a suite's plan: a suite has one."""
    return hashlib.sha256(suite.encode()).hexdigest()[:16]


def records(storage: Storage, kind: str) -> list[dict[str, Any]]:
    """The records of a kind, by name. What cannot be read is left to `scan`."""
    found = side_by_side(storage, lambda name: record(storage, name), record_names(storage, kind))
    return [value for value in found if value is not None]


def side_by_side(storage: Storage, work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """`work` on each item, in order of the items; several at a time where the storage is far."""
    if storage.parallel == 1:
        return [work(item) for item in items]
    with ThreadPoolExecutor(storage.parallel) as pool:
        return list(pool.map(work, items))


def _visible(storage: Storage, tree: Tree) -> Iterator[tuple[str, Tree | Leaf]]:
    return ((name, tree[name]) for name in sorted(tree) if not storage.hidden(name))
