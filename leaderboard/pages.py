"""Prepares what the templates print: the ranking, the controls, the failures, and the numbers of each model."""

import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from leaderboard import reasons
from leaderboard.beaten import beaten
from leaderboard.charts import strips
from leaderboard.columns import BY_NAME, COLUMNS, CONSTRUCTS, Column, describe, plain, show
from leaderboard.parquet_rows import Row, group, number
from leaderboard.ranking import Rank, interval, ranks
from leaderboard.slugs import slug

_MOST_NUMBERS = 20_000
"""Of a model on its page."""


@dataclass(frozen=True)
class Cell:
    """One number of the ranking. sort: what it sorts by, "" if empty. why: reason of an empty cell."""

    column: Column
    text: str
    interval: str = ""
    bar: tuple[float, float, float] | None = None
    sort: str = ""
    rank: str = ""
    tied: str = ""
    why: str = ""
    note: str = ""


@dataclass(frozen=True)
class Suite:
    """Everything measured in one suite."""

    name: str
    info: Row
    models: list[Row]
    results: list[Row]
    status: list[Row]
    places: list[Row]
    comparisons: list[Row]

    @cached_property
    def slugs(self) -> list[str]:
        return [slug(self.name, row["model"]) for row in self.models]

    @cached_property
    def results_of(self) -> Mapping[str | None, list[Row]]:
        """Model -> its rows of results.parquet."""
        return defaultdict(list, {model: rows for (model,), rows in group(self.results, "model").items()})

    @cached_property
    def status_of(self) -> Mapping[str | None, list[Row]]:
        """Model -> its rows of status.parquet."""
        return defaultdict(list, {model: rows for (model,), rows in group(self.status, "model").items()})

    @cached_property
    def strips(self) -> dict[str, list[dict[str, Any] | None]]:
        """Column that ranks -> a strip a model."""
        return {column.name: strips(self.models, column) for column in COLUMNS if column.better}

    @cached_property
    def most_exposed(self) -> frozenset[str]:
        """Those with the largest membership AUC of the models among which the Pareto front was drawn, if it has any."""
        ends = [f"membership_auc{end}" for end in ("", "_low", "_high")]
        drawn = [row for row in self.models if row["pareto"] is not None]
        known = {
            row["model"]: row["membership_auc"] for row in drawn if all(number(row[end]) is not None for end in ends)
        }
        largest = max(known.values(), default=None) if len(drawn) > 1 else None
        return frozenset(model for model, area in known.items() if area == largest)

    @property
    def primary(self) -> reasons.Primary:
        evasion, inversion, membership = (
            self.info.get(f"primary_{kind}") for kind in ("evasion", "inversion", "membership")
        )
        inverted = dict.fromkeys(("invert", "neighbours", "leakage"), inversion)
        return {"evade": evasion, "infer_membership": membership, **inverted}

    def trials_of(self, model: str) -> list[Row]:
        """The model's trials and those that all models share."""
        return [*self.status_of[""], *self.status_of[None], *self.status_of[model]]


def cells(suite: Suite) -> list[list[Cell]]:
    """Row by row, in the order of `COLUMNS`."""
    places = ranks(suite.places, [row["model"] for row in suite.models])
    unranked = [None] * len(suite.models)
    table = []
    for i, row in enumerate(suite.models):
        why = _Why(suite, row)
        table.append([_cell(c, row, places.get(c.name, unranked)[i] if c.ranked else None, why) for c in COLUMNS])
    return table


class _Why:
    """What is known of one model's empty and doubtful cells."""

    def __init__(self, suite: Suite, row: Row) -> None:
        self.row, self.primary = row, suite.primary
        self.every = suite.results_of[row["model"]]
        self.results = [result for result in self.every if result["note"]]
        self.status = suite.trials_of(row["model"])

    def empty(self, column: Column) -> str:
        return reasons.why_empty(column, self.results, self.status, self.primary)

    def note(self, column: Column) -> str:
        notes = [reasons.doubts(column, self.results, self.primary)]
        if column.name == "robust_accuracy" and self.row["masking_suspected"]:
            notes.append(f"masking suspected: {reasons.masking(self.results)}")
        if column.name == "robust_accuracy" and (found := beaten(self.row, self.every)):
            notes.append(f"beaten by {found['points']}: {found['tip']}")
        return "; ".join(note for note in notes if note)


def _cell(column: Column, row: Row, rank: Rank | None, why: _Why) -> Cell:
    text = show(column, row[column.name])
    if not text:
        return Cell(column, "", why=why.empty(column))
    if column.unit == "money" and row["currency"]:
        text = f"{text} {row['currency']}"
    span = interval(row, column.name)
    return Cell(
        column,
        text,
        interval=spread(column, row),
        bar=_bar(span) if span and column.starred and _is_share(column) else None,
        sort=text if span is None else repr(span[0]),
        rank=str(rank) if rank else "",
        tied=_tied(rank) if rank else "",
        note=why.note(column),
    )


def _tied(rank: Rank) -> str:
    """Those that the row names, which are the first: all of hundreds, in every cell, would make a page of megabytes."""
    more = rank.num_tied - len(rank.tied)
    return ", ".join(rank.tied) + (f" and {more} more" if more > 0 else "")


def _is_share(column: Column) -> bool:
    return column.unit == "%" or column.null is not None


def _bar(span: tuple[float, float, float]) -> tuple[float, float, float]:
    value, low, high = (round(100 * min(max(end, 0.0), 1.0), 2) for end in span)
    return value, low, high


def spread(column: Column, row: Row) -> str:
    """The 95% interval as printed, "" where the column has none or it was not measured."""
    if not column.starred:
        return ""
    low, high = row[f"{column.name}_low"], row[f"{column.name}_high"]
    if low is None or high is None:
        return "no interval"
    return f"{show(column, low)}, {show(column, high)}"


def controls(suite: Suite) -> dict[str, Any]:
    """The control table: a line a control, an in_rate a space, whether it came out as it must, what is expected.

    `distrusted`: the spaces in which a control was not passed; all of them where it does not say which; "" where one
    of those is that the headline in_rate is chosen from. A control that measures no in_rate makes none distrusted.
    """
    rows = [row for row in suite.results if row["stage"] == "control"]
    spaces = list(dict.fromkeys(row["space"] for row in rows if row["metric"] == "in_rate"))
    lines = []
    for (model, method, replica), found in group(rows, "model", "method", "replica").items():
        rates = {r["space"]: r for r in found if r["metric"] == "in_rate"}
        verdicts = [r for r in found if r["metric"] == "passed"]
        lines.append(
            {
                "name": method or "control",
                "model": "" if (method or "").startswith(model or "") else model,
                "replica": replica,
                "rates": [_rate(rates.get(space), verdicts, space) for space in spaces],
                "passed": _verdict(verdicts),
                "of_in_rate": bool(rates),
                "failed_spaces": [s for s in spaces if s and _failed_in(verdicts, s)],
                "expected": "; ".join(dict.fromkeys(r["note"] for r in verdicts if r["note"])),
            }
        )
    failed = [line for line in lines if line["passed"] is False]
    distrusted = {space for line in failed if line["of_in_rate"] for space in line["failed_spaces"] or spaces}
    distrusted |= {""} if distrusted - {"target"} else set()
    return {"spaces": spaces, "lines": lines, "failed": failed, "distrusted": distrusted}


def _rate(row: Row | None, verdicts: Sequence[Row], space: str | None) -> dict[str, Any]:
    column = BY_NAME["in_rate"]
    if row is None or row["value"] is None:
        return {"text": "", "why": (row and row["note"]) or reasons.UNKNOWN, "failed": False}
    ends = (
        "" if row["low"] is None or row["high"] is None else f"{show(column, row['low'])}, {show(column, row['high'])}"
    )
    failed = bool(space) and _failed_in(verdicts, space)
    return {"text": show(column, row["value"]), "interval": ends, "failed": failed}


def _failed_in(verdicts: Sequence[Row], space: str | None) -> bool:
    return _verdict([row for row in verdicts if row["space"] == space]) is False


def _verdict(rows: Sequence[Row]) -> bool | None:
    values = [row["value"] for row in rows]
    if not values or any(value is None for value in values):
        return None
    return all(value >= 1 for value in values)


def failures(status: Sequence[Row]) -> dict[str, Any]:
    """Trials without a result: each failure by itself, missing ones counted by model and step."""
    failed = [row for row in status if row["state"] == "failed"]
    missing = group((row for row in status if row["state"] == "missing"), "model", "stage", "method")
    counted = [{"model": m, "stage": s, "method": e, "count": len(rows)} for (m, s, e), rows in missing.items()]
    return {"failed": failed, "missing": counted, "num_missing": sum(line["count"] for line in counted)}


def measures(suite: Suite, index: int, line: Sequence[Cell]) -> list[dict[str, Any]]:
    """A model's leaderboard row by construct, each number with its place among the others."""
    blocks = []
    for construct in CONSTRUCTS:
        items = [
            {"cell": cell, "strip": suite.strips[cell.column.name][index] if cell.column.better else None}
            for cell in line
            if cell.column.construct == construct
        ]
        blocks.append({"construct": construct, "items": items})
    return blocks


def replicas(results: Sequence[Row]) -> list[dict[str, Any]]:
    """Every measured number by step: a line a (method, space, metric), a column a replica."""
    blocks = []
    results, more = results[:_MOST_NUMBERS], len(results) - _MOST_NUMBERS
    named = [row | {key: row[key] or "" for key in ("stage", "method", "space", "metric")} for row in results]
    for (stage,), rows in group(named, "stage").items():
        numbers = sorted({r["replica"] for r in rows if r["replica"] is not None})
        heads: list[int | None] = [None, *numbers] if any(r["replica"] is None for r in rows) else list(numbers)
        lines = []
        for (method, space, metric), same in group(rows, "method", "space", "metric").items():
            by_replica = {r["replica"]: r for r in same}
            values = [_value(by_replica.get(head)) for head in heads]
            lines.append(
                {"method": method, "space": space, "metric": metric, "about": describe(metric or ""), "values": values}
            )
        blocks.append({"stage": stage or "unnamed step", "heads": heads, "lines": lines})
    if more > 0:
        blocks.append({"stage": f"and {more:,} more numbers, in results.parquet", "heads": [], "lines": []})
    return blocks


def _value(row: Row | None) -> dict[str, Any] | None:
    if row is None:
        return None
    low, high = plain(row["low"]), plain(row["high"])
    ends = f"{low}, {high}" if low and high else ""
    return {"text": plain(row["value"]), "interval": ends, "n": row["n"], "note": row["note"] or ""}


def rerun(suite: Suite, model: str | None = None) -> str:
    """The shell command that runs a suite, or runs one model of it again."""
    command = ["bench", "run", suite.info.get("suite_path") or f"{suite.name}.yaml"]
    for file in suite.info.get("included") or []:
        command += ["--include", file["path"] or ""]
    return shlex.join(command if model is None else [*command, "--only", model, "--rerun", "all"])


def progress(info: Row) -> dict[str, int] | None:
    """Counts of the suite's trials, None where they are unknown."""
    counts = {key: number(info.get(f"num_{key}")) for key in ("trials", "done", "failed")}
    if any(value is None for value in counts.values()):
        return None
    return {key: int(value or 0) for key, value in counts.items()}
