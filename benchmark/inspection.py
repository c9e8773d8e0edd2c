"""Is the results folder what runs leave there? Looks, changes nothing."""

import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.trial import Trial

MARK = "trial.json"
KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Problem:
    """Something in the results folder that no run leaves there.

    path: what to set aside. key: the trial that is lost with it, empty for a foreign file.
    """

    path: Path
    reason: str
    key: str = ""


def fault(folder: Path) -> str:
    """Why this is not the folder of a finished trial; empty if it is one.

    Cheap, since a resume asks it for every trial: one listing, the sizes, the mark, the hash of
    the rows. The hash stands for the footer, which was read back before the mark was written.
    """
    try:
        mark = json.loads((folder / MARK).read_bytes())
        key, files = mark["key"], mark["files"]
        if key != folder.name or Trial.from_json(mark["trial"]).key != key:
            return f"{MARK}: its key is not that of the folder or of the trial in it"
        sizes = {entry.name: entry.stat().st_size for entry in os.scandir(folder)}
        for name, file in files.items():
            if name not in sizes:
                return f"{name}: missing"
            if sizes[name] != file["bytes"]:
                return f"{name}: truncated or foreign ({sizes[name]} bytes, written were {file['bytes']})"
        rows = (folder / "rows.parquet").read_bytes()
        if hashlib.sha256(rows).hexdigest() != files["rows.parquet"]["sha256"]:
            return "rows.parquet: its sha256 is not the one that was written"
    except FileNotFoundError:
        return f"{MARK}: missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{MARK}: cannot be read ({type(error).__name__}: {error})"
    return ""


def scan(root: Path) -> tuple[set[str], list[Problem]]:
    """(keys of the finished trials, problems) of a results folder, in one pass.

    Names that begin with a dot are left alone: files being written, and the system's own.
    """
    done: set[str] = set()
    problems: list[Problem] = []
    for prefix in _visible(root / "trials"):
        if not re.fullmatch("[0-9a-f]{2}", prefix.name) or not prefix.is_dir():
            problems.append(Problem(prefix, "foreign: not a folder of trials"))
            continue
        for folder in _visible(prefix):
            if not KEY.fullmatch(folder.name) or folder.name[:2] != prefix.name or not folder.is_dir():
                problems.append(Problem(folder, "foreign: not the folder of a trial"))
            elif reason := fault(folder):
                problems.append(Problem(folder, reason, folder.name))
            else:
                done.add(folder.name)
                problems += _foreign_files(folder)
    for kind in ("failures", "plans"):
        for path in _visible(root / kind):
            if record(path) is None:
                problems.append(Problem(path, "foreign or truncated: not a record of a run"))
    return done, problems


def record(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file of `failures/` or `plans/`; None if that is not what it holds."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    known = isinstance(value, dict) and value.get("record") == path.parent.name
    return value if known and path.suffix == ".json" else None


def _foreign_files(folder: Path) -> list[Problem]:
    known = {MARK, *json.loads((folder / MARK).read_bytes())["files"]}
    return [Problem(path, "foreign: no file of this trial") for path in _visible(folder) if path.name not in known]


def _visible(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from sorted(path for path in folder.iterdir() if not path.name.startswith("."))
