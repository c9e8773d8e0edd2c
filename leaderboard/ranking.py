"""Places of the models in one column, as the comparisons of every two of them gave them."""

from collections.abc import Sequence
from dataclasses import dataclass

from leaderboard.parquet_rows import Row, number


@dataclass(frozen=True)
class Rank:
    """Places a model may hold: `best` to `worst`, 1 = best; how many it is tied with, and the first of them."""

    best: int
    worst: int
    num_tied: int
    tied: tuple[str, ...]

    def __str__(self) -> str:
        return str(self.best) if self.best == self.worst else f"{self.best}–{self.worst}"


def interval(row: Row, name: str) -> tuple[float, float, float] | None:
    """(value, low, high) of a column; both ends are the value where it has no interval."""
    value = number(row.get(name))
    if value is None:
        return None
    low, high = number(row.get(f"{name}_low")), number(row.get(f"{name}_high"))
    return value, min(value, low if low is not None else value), max(value, high if high is not None else value)


def ranks(places: Sequence[Row], names: Sequence[str]) -> dict[str, list[Rank | None]]:
    """Column -> rank of every model, None for none. places: rows of ranks.parquet. names: of the models, in order."""
    at = {name: i for i, name in enumerate(names)}
    found: dict[str, list[Rank | None]] = {}
    for row in places:
        ends = [number(row[end]) for end in ("best", "worst", "num_tied")]
        if row["model"] in at and row["metric"] and None not in ends:
            best, worst, tied = (int(end or 0) for end in ends)
            column = found.setdefault(row["metric"], [None] * len(names))
            column[at[row["model"]]] = Rank(best, worst, tied, tuple(name or "" for name in row["tied"] or ()))
    return found
