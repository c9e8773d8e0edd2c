"""A finished trial as the page's tables are made of it, and what a membership attack's trial says. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmark.stats import Scored, audit

_ROUNDING = 1e-6


def pair_of(replica: int) -> int:
    """Replicas 2j and 2j + 1 are pair j: complements of each other."""
    return replica // 2


@dataclass(frozen=True, slots=True)
class Done:
    """A finished trial with its labels.

    rows: dicts of `schema.MEASURE`. made: columns of `schema.PROVENANCE`. content: hash of all that the trial wrote.
    """

    key: str
    stage: str
    method: str
    model: str
    replica: int | None
    rows: tuple[dict[str, Any], ...]
    made: Mapping[str, Any]
    content: str

    @property
    def pair(self) -> int:
        """The pair of its replica; 0 where it is of none."""
        return pair_of(self.replica or 0)

    def row(self, metric: str, space: str = "") -> dict[str, Any] | None:
        """The row of a metric that occurs once a space in this trial."""
        return next((row for row in self.rows if row["metric"] == metric and (row.get("space") or "") == space), None)

    def counted(self, metric: str) -> tuple[int, int] | None:
        """(hits, units) of a rate that occurs once in this trial; None where it is no rate of anything."""
        row = self.row(metric)
        return None if row is None else counted(row)

    def shares(self, metric: str, space: str = "") -> tuple[float, int] | None:
        """As `counted`, in one space, of a mean share of units, whose hits may be fractional."""
        row = self.row(metric, space)
        whole = None if row is None else counted(row)
        if row is None or whole is None:
            return None
        hits = row["value"] * row["n"]
        return (whole[0] if abs(hits - whole[0]) < _ROUNDING else hits), whole[1]


def counted(row: Mapping[str, Any]) -> tuple[int, int] | None:
    """(hits, units) of the row of a rate; None where it was not measured, or is no rate."""
    if not row["n"] or row["value"] is None or not 0 <= row["value"] <= 1:
        return None
    return round(row["value"] * row["n"]), row["n"]


def spaces_of(trials: Mapping[int, Done], metric: str) -> list[str]:
    """The spaces in which the trials have a metric, in their order; "" where it has none."""
    rows = (row for done in trials.values() for row in done.rows if row["metric"] == metric)
    return list(dict.fromkeys(row.get("space") or "" for row in rows))


def common_note(trials: Mapping[int, Done], metric: str, space: str = "") -> str | None:
    """What every trial says beside a metric; None where they say nothing, or not the same."""
    notes = {None if row is None else row.get("note") for row in (done.row(metric, space) for done in trials.values())}
    return notes.pop() if len(notes) == 1 else None


class Scores(NamedTuple):
    """What a membership attack says of a replica's P private images. image: (P,) their ids. pair: of the replica."""

    run: audit.Run
    image: npt.NDArray[np.int64]
    pair: int

    @property
    def scored(self) -> Scored:
        """Of the images that the replica is judged on."""
        on = self.run.judged
        return Scored(self.run.scores[on], self.run.is_member[on], self.run.groups[on], self.pair)
