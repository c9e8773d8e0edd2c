"""Moves what is damaged or foreign in a results folder out of the way, into `set_aside/`; nothing is deleted."""

from datetime import UTC, datetime

from benchmark.reading.text import printable
from benchmark.storage import Storage


def set_aside(storage: Storage, source: str, reason: str) -> str:
    """Move a file or folder, by its name there; returns where it is now, with `reason.txt` beside it."""
    stamp, last = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ"), source.rsplit("/", 1)[-1]
    target = f"set_aside/{stamp}-{last[:100]}"
    storage.write(f"{target}/reason.txt", printable(f"{source}\n{reason}\n").encode())
    storage.move(source, f"{target}/{last}")  # or another run has just set it aside
    return target
