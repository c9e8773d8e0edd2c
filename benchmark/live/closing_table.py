"""The closing table of a run, for a terminal: the ranking, whether the controls passed, and what the run cost."""

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from benchmark.live.lines import line
from benchmark.metrics import LEADERBOARD_METRICS
from benchmark.planning.prices import Bill
from benchmark.running.schedule import Report

_WIDE = 150
"""Columns of a terminal from which on an interval fits beside its value."""
_RANKED = {metric.short: metric.name for metric in LEADERBOARD_METRICS if metric.short}
"""Heading -> column."""


def ranking(rows: list[Mapping[str, Any]], width: int) -> Table:
    """The leaderboard of one suite, most robust first. width: columns of the terminal; 80 are enough."""
    title = line(f"suite {rows[0]['suite']}: most robust first; 95% intervals")
    wide = width >= _WIDE
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=not wide)
    table.add_column("model", overflow="fold")
    for name in _RANKED:
        table.add_column(name, justify="right")
    for row in sorted(rows, key=lambda row: -(row["robust_accuracy"] or 0.0)):
        table.add_row(line(row["model"]), *(_rate(row, name, wide) for name in _RANKED.values()))
    return table


def controls(rows: list[Mapping[str, Any]]) -> Text:
    """Whether the controls passed. rows: of results.parquet, stage `control`, metric `passed`."""
    failed: dict[str, list[str]] = {}
    for row in rows:
        if row["value"] != 1.0:
            failed.setdefault(f"{row['method']} (expected {row['note']}) in", []).append(row["space"] or "no space")
    if not rows:
        return Text("controls: not measured yet")
    if not failed:
        return Text("controls: passed")
    which = "; ".join(f"{control} {', '.join(spaces)}" for control, spaces in failed.items())
    return Text.assemble(("controls: FAILED, do not believe an in_rate of these spaces: ", "red"), line(which))


def closing(report: Report, spent: Bill) -> str:
    """The run in one line. spent: the bill of the trials that it finished."""
    text = "interrupted, run again to go on: " if report.interrupted else ""
    text += (
        f"{report.num_executed} trials run, {report.num_cached} there before, {report.num_failed} failed, "
        f"{report.num_skipped} not run; {report.wall_s:.1f} s"
    )
    if report.num_executed:
        text += f" for {report.trial_wall_s:.1f} s of compute: {spent.text()}"
    return text


def _rate(row: Mapping[str, Any], name: str, wide: bool) -> Text:
    if row[name] is None:
        return Text("-")
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    ends = [] if low is None or high is None else [f"{low:.2f}", f"{high:.2f}"]
    if not wide:  # .76-.79 below it
        ends = [end.removeprefix("0") for end in ends]
    return Text(f"{row[name]:.3f}" + (" " if wide else "\n")) + Text("-".join(ends), "dim")
