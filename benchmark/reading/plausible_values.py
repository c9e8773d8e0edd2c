"""What runs write into rows, provenance and records, as far as others read it: which values no run writes."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from benchmark.reading.text import shown

LONGEST_NAME, LONGEST_LABEL, LONGEST_NOTE, LONGEST_TEXT = 500, 2_000, 10_000, 100_000
"""Characters of a name; of several in a line; of a note, or of what provenance says; of a traceback."""
MOST_INCLUDED = 2**20
"""Characters of included files, all together, that a plan's record and a page keep."""
MOST_ROWS = 5_000
"""In `rows.parquet` of a trial."""
MOST_TABLE_ROWS, MOST_TABLE_BYTES = 5_000_000, 2**31
"""Of any other table of a trial; bytes as it is unpacked."""
MOST_RUNNING = 100_000
"""Trials that a driver may run side by side."""
_LARGEST = 1e100
_MOST_COUNT = 2**53
KEY = re.compile(r"[0-9a-f]{64}")
"""Of a trial, and the SHA-256 of a file."""
_COUNTS = frozenset(["threads", "gpu_memory_bytes", "host_memory_bytes", "schema_version"])
_AMOUNTS = frozenset(["wall_s", "gpu_s", "gpus", "gpu_utilisation"])
_NAMED = ("stage", "metric")
_LABELS = ("method", "space")
_VALUES = ("value", "low", "high")


def is_name(value: Any) -> bool:
    """A label of at least one character."""
    return is_text(value, LONGEST_NAME) and value != ""


def is_text(value: Any, longest: int) -> bool:
    """A text that files and pages take."""
    return isinstance(value, str) and len(value) <= longest and (value.isascii() or _encodes(value))


def _encodes(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_count(value: Any, most: int = _MOST_COUNT) -> bool:
    return type(value) is int and 0 <= value <= most


def is_number(value: Any) -> bool:
    """A finite number that arithmetic does not carry out of float64."""
    return type(value) in (int, float) and -_LARGEST <= value <= _LARGEST


def is_amount(value: Any) -> bool:
    return is_number(value) and value >= 0


def odd_rows(rows: Iterable[Mapping[str, Any]]) -> str:
    """What no run writes into rows of `schema.MEASURE`; empty where there is nothing."""
    for row in rows:
        for name in _NAMED:
            if not is_name(row[name]):
                return f"a row has {name} {_short(row[name])}; allowed: a name"
        for name in _LABELS:
            if not is_text(row[name], LONGEST_NAME):
                return f"a row has {name} {_short(row[name])}; allowed: a text of {LONGEST_NAME} characters"
        for name in _VALUES:
            if row[name] is not None and not is_number(row[name]):
                return f"metric {_short(row['metric'])} has {name} {_short(row[name])}; allowed: a finite number"
        if row["n"] is not None and not is_count(row["n"]):
            return f"metric {_short(row['metric'])} has n {_short(row['n'])}; allowed: a number of units"
        if row["note"] is not None and not is_text(row["note"], LONGEST_NOTE):
            return f"metric {_short(row['metric'])} has a note that is no text of {LONGEST_NOTE} characters"
    return ""


def is_row(value: Any) -> bool:
    """A row of `schema.MEASURE` over several trials, which lacks what it does not need."""
    if not isinstance(value, dict) or not is_name(value.get("metric")) or "value" not in value:
        return False
    full = {**dict.fromkeys(("low", "high", "n", "note")), "stage": "aggregate", **dict.fromkeys(_LABELS, ""), **value}
    return not odd_rows([full])


def odd_provenance(made: Mapping[str, Any]) -> str:
    """What no run writes into the columns of `schema.PROVENANCE`; empty where there is nothing."""
    for name, value in made.items():
        if value is None:
            continue
        if name in _COUNTS:
            fits = is_count(value)
        elif name in _AMOUNTS:
            fits = is_amount(value)
        else:
            fits = is_text(value, LONGEST_NOTE)
        if not fits:
            return f"provenance {_short(name)} is {_short(value)}"
    return ""


def is_failure(value: Mapping[str, Any]) -> bool:
    key = value.get("key")
    return isinstance(key, str) and bool(KEY.fullmatch(key)) and is_text(value.get("traceback"), LONGEST_TEXT)


def is_heartbeat(value: Mapping[str, Any]) -> bool:
    trials = value.get("trials")
    if not is_amount(value.get("time")) or not isinstance(trials, list) or len(trials) > MOST_RUNNING:
        return False
    return all(is_text(label, LONGEST_LABEL) for label in trials)


def _short(value: Any) -> str:
    return shown(value, 40)
