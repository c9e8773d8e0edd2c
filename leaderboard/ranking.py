"""Ranks models by one column; models whose intervals overlap share their places."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from leaderboard.parquet_rows import Row, number


@dataclass(frozen=True)
class Rank:
    """Places a model may hold: `best` to `worst`, 1 = best, and the indices it is tied with."""

    best: int
    worst: int
    tied: tuple[int, ...]

    def __str__(self) -> str:
        return str(self.best) if self.best == self.worst else f"{self.best}–{self.worst}"


def interval(row: Row, name: str) -> tuple[float, float, float] | None:
    """(value, low, high) of a column; both ends are the value where it has no interval."""
    value = number(row.get(name))
    if value is None:
        return None
    low, high = number(row.get(f"{name}_low")), number(row.get(f"{name}_high"))
    return value, min(value, low if low is not None else value), max(value, high if high is not None else value)


def _has_ends(row: Row, name: str) -> bool:
    return all(number(row.get(f"{name}_{end}")) is not None for end in ("low", "high"))


def ranks(rows: Sequence[Row], name: str, better: str) -> list[Rank | None]:
    """Rank of every row by one column, None where it is empty or has no interval. better: "up" or "down".

    A row is better than another only if their intervals do not overlap; otherwise the two are tied. The best
    place is one after all that are better, the worst is before all that are worse.
    """
    if better not in ("up", "down"):
        raise ValueError(f"better: {better!r} is not allowed; allowed: up, down")
    spans = [interval(row, name) if _has_ends(row, name) else None for row in rows]
    known = np.array([i for i, span in enumerate(spans) if span is not None], dtype=np.int64)
    lows, highs = (np.array([span[end] for span in spans if span is not None]) for end in (1, 2))
    # (i, j): known model i is better than j.
    beats = lows[:, None] > highs[None, :] if better == "up" else highs[:, None] < lows[None, :]
    ties = ~(beats | beats.T)
    np.fill_diagonal(ties, False)
    found: list[Rank | None] = [None] * len(rows)
    for place, (ahead, behind) in enumerate(zip(beats.sum(axis=0), beats.sum(axis=1), strict=True)):
        tied = tuple(known[ties[place]].tolist())
        found[known[place]] = Rank(int(ahead) + 1, len(known) - int(behind), tied)
    return found
