"""Computes what the figures show as plain data: static/figure.js draws the scatter, templates/model.html the strips."""

from collections.abc import Sequence
from typing import Any

from leaderboard.columns import BY_NAME, X_AXES, Y_AXES, Column
from leaderboard.parquet_rows import Row
from leaderboard.ranking import interval


def scatter(rows: Sequence[Row], hrefs: Sequence[str]) -> dict[str, Any]:
    """Robustness against leakage for one suite: a point a model, and every axis that has a number.

    The points carry [value, low, high] a column, in the column's own unit (shares, not per cent).
    """
    names = [n for n in dict.fromkeys((*X_AXES, *Y_AXES)) if any(interval(row, n) for row in rows)]
    points = [
        {
            "model": row["model"],
            "href": href,
            "architecture": row["architecture"] or "",
            "regime": row["regime"] or "unknown regime",
            "masking": bool(row["masking_suspected"]),
            "values": {n: span for n in names if (span := interval(row, n))},
        }
        for row, href in zip(rows, hrefs, strict=True)
    ]
    return {
        "points": points,
        "axes": {n: _axis(BY_NAME[n]) for n in names},
        "x": [n for n in X_AXES if n in names],
        "y": [n for n in Y_AXES if n in names],
    }


def _axis(column: Column) -> dict[str, Any]:
    return {
        "label": column.label,
        "construct": column.construct,
        "percent": column.unit == "%",
        "better": column.better,
        "null": column.null,
    }


def strips(rows: Sequence[Row], column: Column) -> list[dict[str, Any] | None]:
    """Each model among all of its suite on one measure; places are percent of the strip's width.

    The strips span what the suite's models span, and the null value. None where a model has no value. `all` is the
    path of a tick a model, one for all strips: with hundreds of models, ticks by themselves make pages of megabytes.
    """
    known = [(i, span) for i, row in enumerate(rows) if (span := interval(row, column.name))]
    found: list[dict[str, Any] | None] = [None] * len(rows)
    if not known:
        return found
    low, high = min(span[1] for _, span in known), max(span[2] for _, span in known)
    if column.null is not None:
        low, high = min(low, column.null), max(high, column.null)
    width = high - low

    def place(value: float) -> float:
        return round(4 + 92 * (value - low) / width, 2) if width > 0 else 50.0

    ticks = "".join(f"M{at:g} 3v6" for at in dict.fromkeys(place(span[0]) for _, span in known))
    null = None if column.null is None else place(column.null)
    for i, (value, least, most) in known:
        found[i] = {"value": place(value), "low": place(least), "high": place(most), "all": ticks, "null": null}
    return found
