"""A number that was derived again, and its comparison with the one that was published."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

CLOSE = 1e-6
"""Libraries round differently; relative to values above 1."""


class Place(NamedTuple):
    """Where a number stands in results.parquet. replica: None for a number over all replicas."""

    model: str
    replica: int | None
    stage: str
    method: str
    space: str
    metric: str

    def words(self) -> str:
        replica = "all replicas" if self.replica is None else f"replica {self.replica}"
        return " ".join(filter(None, (self.model, replica, self.stage, self.method, self.space)))


class Number(NamedTuple):
    """What the raw output gives. value: None, where it gives none. low, high: None, where they are not derived again.

    tolerance: of the difference to what was published. n: images that a share is of.
    """

    place: Place
    value: float | None
    low: float | None = None
    high: float | None = None
    tolerance: float = CLOSE
    n: int = 0


class Check(NamedTuple):
    """One comparison. difference: infinite where only one of the two is there."""

    metric: str
    difference: float
    tolerance: float
    where: str


class Line(NamedTuple):
    """All comparisons of a metric: how many, and the one of the largest difference for its tolerance.

    unchecked: published numbers of this metric, ends of intervals included, that were not derived again.
    """

    metric: str
    num_checked: int
    worst: Check | None
    unchecked: int = 0

    @property
    def holds(self) -> bool:
        return self.worst is None or self.worst.difference <= self.worst.tolerance


def difference(derived: float | None, published: float | None) -> float:
    """Absolute; of numbers above 1 relative."""
    if derived is None or published is None:
        return 0.0 if derived is published else math.inf
    found = abs(derived - published) / max(1.0, abs(published))
    return math.inf if math.isnan(found) else found


def compared(numbers: Iterable[Number], published: Mapping[Place, Mapping[str, Any]]) -> Iterator[Check]:
    """published: rows with value, low, high. What was not published is not compared."""
    for number in numbers:
        row, where = published.get(number.place), number.place.words()
        if row is None:
            continue
        yield Check(number.place.metric, difference(number.value, row.get("value")), number.tolerance, where)
        for end, derived in (("low", number.low), ("high", number.high)):
            if derived is not None and row.get(end) is not None:
                gap = difference(derived, row[end])
                yield Check(number.place.metric, gap, number.tolerance, f"{where}, {end} end")


def lines(checks: Iterable[Check], unchecked: Mapping[str, int]) -> list[Line]:
    """A line a metric, in the order in which they were checked first; then those that were not at all."""
    by_metric: dict[str, list[Check]] = {}
    for check in checks:
        by_metric.setdefault(check.metric, []).append(check)
    found = [
        Line(metric, len(own), max(own, key=lambda one: one.difference / one.tolerance), unchecked.get(metric, 0))
        for metric, own in by_metric.items()
    ]
    return found + [Line(metric, 0, None, count) for metric, count in unchecked.items() if metric not in by_metric]


def mean(values: Sequence[float | None]) -> float | None:
    """Of those that are there."""
    there = [value for value in values if value is not None]
    return math.fsum(there) / len(there) if there else None
