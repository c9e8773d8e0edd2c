"""Reads what a page says: the rows of its results, and the lines of its leaderboard."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmark.metrics import LEADERBOARD_METRICS, STRONGEST
from benchmark.rederivation.numbers import Check, Number, Place, difference


class Published:
    """One suite on a page. site: the folder of its Parquet files.

    rows: of its results, by place. board: lines of its leaderboard. done: keys of the trials that they are made of.
    """

    def __init__(self, site: Path, suite: str) -> None:
        rows = pq.read_table(site / "results.parquet", filters=[("suite", "=", suite)]).to_pylist()
        self.rows = {_place(row): row for row in rows}
        status = pq.read_table(site / "status.parquet", filters=[("suite", "=", suite), ("state", "=", "done")])
        self.done = set(status["trial_key"].to_pylist())
        self.board = pq.read_table(site / "leaderboard.parquet", filters=[("suite", "=", suite)]).to_pylist()

    def row(self, place: Place) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.rows.get(place, {})
        return found

    def on_board(self, numbers: Iterable[Number], about: Mapping[str, Any]) -> Iterator[Check]:
        """The leaderboard's columns against the same numbers."""
        derived = {number.place: number for number in numbers}
        primary = {"evade": about["evasion"][0]["label"], "leakage": about["inversion"][0]}
        primary["infer_membership"] = STRONGEST
        for line in self.board:
            for metric in LEADERBOARD_METRICS:
                method = metric.method or primary.get(metric.stage, "")
                place = Place(line["model"], None, metric.stage, method, metric.space, metric.metric)
                if place in derived:
                    gap = difference(derived[place].value, line[metric.name])
                    where = f"leaderboard {line['model']}, {metric.name}"
                    yield Check(metric.metric, gap, derived[place].tolerance, where)

    def unchecked(self, numbers: Iterable[Number]) -> Counter[str]:
        """Metric -> how many values and ends of intervals were published and not derived again."""
        derived = {number.place: number for number in numbers}
        left: Counter[str] = Counter()
        for place, row in self.rows.items():
            number = derived.get(place)
            for name in ("value", "low", "high"):
                there = number is not None and (name == "value" or getattr(number, name) is not None)
                if row[name] is not None and not there:
                    left[place.metric] += 1
        return left


def _place(row: Mapping[str, Any]) -> Place:
    stage, method, space = (row[name] or "" for name in ("stage", "method", "space"))
    return Place(row["model"] or "", row["replica"], stage, method, space, row["metric"])
