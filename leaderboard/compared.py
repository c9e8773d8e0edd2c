"""A model against every other of its suite, from the comparisons of every two."""

from collections.abc import Sequence
from typing import Any

from leaderboard.columns import BY_NAME, COLUMNS, Column, show
from leaderboard.parquet_rows import Row, group, number


def compared(comparisons: Sequence[Row], model: str) -> list[dict[str, Any]]:
    """A block a column that ranks, with a line for every other model. comparisons: rows of the suite."""
    blocks = []
    for (name,), rows in group(comparisons, "metric").items():
        column = BY_NAME.get(name or "")
        own = [row for row in rows if model in (row["model"], row["other"])]
        if column is not None and own:
            blocks.append({"column": column, "lines": [_line(column, row, model) for row in own]})
    return sorted(blocks, key=lambda block: COLUMNS.index(block["column"]))


def _line(column: Column, row: Row, model: str) -> dict[str, Any]:
    """The difference as seen from `model`."""
    sign = 1 if row["model"] == model else -1
    value, low, high = (
        None if (end := number(row[key])) is None else sign * end for key in ("difference", "low", "high")
    )
    p_value = number(row["p_holm"])
    ends = [show(column, low), show(column, high)][::sign]
    return {
        "other": row["other"] if sign == 1 else row["model"],
        "text": show(column, value),
        "interval": ", ".join(ends),
        "p": "" if p_value is None else f"{p_value:.3f}" if p_value >= 0.001 else "< 0.001",
        "told": p_value is not None and p_value <= 0.05,
        "paired": row["paired"],
    }
