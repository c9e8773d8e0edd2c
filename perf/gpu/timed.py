"""A section of `make gpu`: a process of its own with a time limit, ended with all that it started."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Rows = list[dict[str, Any]]
LEAST_S = 5.0
"""A section with less time than this would load torch and do nothing."""


@dataclass
class Section:
    """rows: of one table. problem: what kept it from being whole, in one line; "" for nothing. limit_s: what it got."""

    name: str
    seconds: float = 0.0
    limit_s: float = 0.0
    problem: str = ""
    rows: Rows = field(default_factory=list)


def limit(name: str, left_s: float, shares: Mapping[str, float]) -> float:
    """Seconds for this section of those that are left: its share among the sections from it on.

    shares: section -> share, in the order they run. So what a section leaves is divided among all that follow, and the
    last one gets the whole rest.
    """
    names = list(shares)
    return left_s * shares[name] / sum(shares[later] for later in names[names.index(name) :])


def run(name: str, limit_s: float, folder: Path, options: Sequence[str]) -> Section:
    """`python -m perf.gpu --section NAME`; what it had measured when it failed or ran out of time counts."""
    begin = time.monotonic()
    (folder / f"{name}.json").unlink(missing_ok=True)
    call = [sys.executable, "-m", "perf.gpu", "--section", name, "--limit", str(limit_s), "--output", str(folder)]
    code = in_a_group([*call, *options], folder / f"{name}.log", limit_s)
    section = Section(name, limit_s=limit_s)
    with contextlib.suppress(FileNotFoundError):
        found = json.loads((folder / f"{name}.json").read_text())
        section.rows, section.problem = found["rows"], found["problem"]
    if code is None:
        section.problem = f"not done in {limit_s:.0f} s"
    elif code and not section.problem:
        section.problem = f"exit code {code}; see {name}.log"
    section.seconds = time.monotonic() - begin
    return section


def in_a_group(call: Sequence[str], log: Path, limit_s: float) -> int | None:
    """The exit code, None if it ran out of time. What it started and left behind is killed: it may hold the GPU."""
    with log.open("w") as output:
        process = subprocess.Popen(call, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            return process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def kept(rows: Iterable[dict[str, Any]], path: Path) -> bool:
    """Write rows to `path`, all again after each: whoever ends this process finds what it had. False if one failed."""
    found: Rows = []
    _write(path, found, "")
    try:
        for row in rows:
            found.append(row)
            _write(path, found, "")
    except Exception as error:
        _write(path, found, f"{type(error).__name__}: {' '.join(str(error).split())}"[:500])
        sys.excepthook(type(error), error, error.__traceback__)
        return False
    return True


def _write(path: Path, rows: Rows, problem: str) -> None:
    """By a rename: a process that is killed meanwhile leaves the file before."""
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps({"rows": rows, "problem": problem}))
    beside.replace(path)
