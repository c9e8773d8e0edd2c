"""Says why a cell of the ranking is empty or doubtful."""

from collections.abc import Mapping, Sequence

from leaderboard.columns import NO_ADVERSARY, Column
from leaderboard.parquet_rows import Row

UNKNOWN = "not measured; the results give no reason"


Primary = Mapping[str, str | None]
"""Step -> the attack behind the leaderboard's column; the rows of a suite's other attacks explain no column."""


def _counts(row: Row, column: Column, primary: Primary) -> bool:
    """Whether a row or a trial has to do with a column."""
    wanted = primary.get(row["stage"] or "")
    if column.method and row["stage"] == column.stages[-1]:
        wanted = column.method
    return row["stage"] in column.stages and (not wanted or not row["method"] or row["method"] == wanted)


def _notes(column: Column, results: Sequence[Row], primary: Primary) -> list[Row]:
    """Rows with a note on a column, under its own name or under its metric in its space."""
    names = {column.metric: (column.space,), column.name: ("", None, column.space)}
    rows = [r for r in results if r["note"] and r["metric"] in names and _counts(r, column, primary)]
    rows = [r for r in rows if column.space is None or r["space"] in names[r["metric"]]]
    return sorted(rows, key=lambda r: (r["replica"] is not None, r["replica"] or 0))


def why_empty(column: Column, results: Sequence[Row], status: Sequence[Row], primary: Primary) -> str:
    """One line. results: the model's rows. status: the model's trials and those that all models share."""
    if column.name in NO_ADVERSARY:
        return "none: trained against no adversary"
    if column.unit == "money":
        return "the suite has no prices, or none for one of the devices"
    notes = [r["note"] for r in _notes(column, results, primary) if r["value"] is None]
    if notes:
        return "; ".join(dict.fromkeys(notes))
    every = {**primary, "infer_membership": None}  # the strongest attack is chosen from all of them
    trials = [t for t in status if _counts(t, column, every)]
    failed = [t for t in trials if t["state"] == "failed"]
    if failed:
        first = min(failed, key=lambda t: column.stages.index(t["stage"]))
        return f"{_place(first)} failed: {first['error'] or 'no message was kept'}"
    missing = [t for t in trials if t["state"] == "missing"]
    if missing:
        first = min(missing, key=lambda t: column.stages.index(t["stage"]))
        return f"not run yet: {len(missing)} of {len(trials)} trials are missing, the first is {_place(first)}"
    return UNKNOWN


def doubts(column: Column, results: Sequence[Row], primary: Primary) -> str:
    """Notes on a value that was measured, over all replicas; "" for none."""
    rows = [r for r in _notes(column, results, primary) if r["value"] is not None and r["replica"] is None]
    return "; ".join(dict.fromkeys(r["note"] for r in rows))


def masking(results: Sequence[Row]) -> str:
    """Why gradient masking is suspected."""
    notes = [r["note"] for r in results if r["metric"] == "masking_suspected" and r["note"]]
    return "; ".join(dict.fromkeys(notes)) or "a sign of gradient masking was seen; the reason is in results.parquet"


def _place(trial: Row) -> str:
    replica = "" if trial["replica"] is None else f" of replica {trial['replica']}"
    method = f" ({trial['method']})" if trial["method"] else ""
    return f"{trial['stage']}{method}{replica}"
