"""Prepares the charts of robust accuracy against epsilon, and the table of accuracies under common corruptions."""

from collections.abc import Mapping, Sequence
from typing import Any

from leaderboard.columns import BY_NAME, epsilon, plain, show
from leaderboard.parquet_rows import Row, number
from leaderboard.svg_charts import Band, bands, style

MOST_LINES = 12
"""Models in one chart: six colours, whole and dashed."""
_LARGEST = 1e6
Curves = Mapping[str, Sequence[Band]]
"""Norm -> (radius, accuracy, low, high), radii ascending."""


def curves(results: Sequence[Row]) -> Curves:
    """Those of one model, over its replicas. results: its rows."""
    found: dict[str, dict[float, Band]] = {}
    for row in results:
        norm, radius = _place(row)
        ends = [number(row[end]) for end in ("value", "low", "high")]
        if radius is not None and all(end is not None and 0 <= end <= 1 for end in ends):
            value, low, high = (float(end or 0.0) for end in ends)
            found.setdefault(norm, {})[radius] = (radius, value, low, high)
    return {norm: [points[at] for at in sorted(points)] for norm, points in found.items() if len(points) > 1}


def _place(row: Row) -> tuple[str, float | None]:
    """(norm, radius) of a row of a curve over all replicas; of any other, no radius."""
    if row["stage"] != "robustness_curve" or row["metric"] != "robust_accuracy_at" or row["replica"] is not None:
        return "", None
    norm, _, text = (row["space"] or "").partition(" ")
    try:
        radius = number(float(text))
    except ValueError:
        return "", None
    return norm, radius if radius is not None and 0 <= radius <= _LARGEST else None


def section(results: Sequence[Row]) -> dict[str, Any] | None:
    """What the page says of one model: a chart a norm, its numbers, corruptions. None where nothing was measured."""
    charts = [_chart_of_model(norm, points, results) for norm, points in curves(results).items()]
    corrupted = _corruptions(results)
    return {"charts": charts, "corruptions": corrupted} if charts or corrupted else None


def _chart_of_model(norm: str, points: Sequence[Band], results: Sequence[Row]) -> dict[str, Any]:
    told = f"Robust accuracy against the {norm} radius, from {_percent(points[0][1])}% at radius 0 "
    told += f"to {_percent(points[-1][1])}% at {epsilon(points[-1][0])}; the table below holds the numbers"
    return {
        "norm": norm,
        "svg": bands({"": points}, told, f"{norm} radius, pixel units"),
        "lines": [
            {"radius": epsilon(at), "text": f"{_percent(value)}%", "interval": f"{_percent(low)}, {_percent(high)}"}
            for at, value, low, high in points
        ],
        "median": _median(results, norm),
    }


def over_models(models: Mapping[str, Sequence[Row]]) -> list[dict[str, Any]]:
    """A chart a norm with a line a model, and its legend. models: name -> rows of results.parquet.

    Of more models than a chart can hold, those whose lines are highest on average.
    """
    own = {name: curves(results) for name, results in models.items()}
    found = []
    for norm in dict.fromkeys(norm for each in own.values() for norm in each):
        lines = {name: each[norm] for name, each in own.items() if norm in each}
        shown = dict(sorted(lines.items(), key=lambda line: -_height(line[1]))[:MOST_LINES])
        told = f"Robust accuracy against the {norm} radius of {', '.join(shown)}; each model's page holds the numbers"
        legend = [
            {"style": style(i), "name": name, "median": _median(models[name], norm)} for i, name in enumerate(shown)
        ]
        left_out = len(lines) - len(shown)
        svg = bands(shown, told, f"{norm} radius, pixel units")
        found.append({"norm": norm, "svg": svg, "legend": legend, "left_out": left_out})
    return found


def _height(points: Sequence[Band]) -> float:
    """Mean height of a line over the radii."""
    width = points[-1][0] - points[0][0]
    area = sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in zip(points, points[1:], strict=False))
    return area / width if width else points[0][1]


def _median(results: Sequence[Row], norm: str) -> dict[str, str]:
    """The median smallest perturbation as printed, or why there is none."""
    for row in results:
        if row["metric"] == "median_smallest_perturbation" and row["space"] == norm and row["replica"] is None:
            low, high = plain(row["low"]), plain(row["high"])
            ends = f"{low}, {high}" if low and high else ""
            return {
                "text": plain(row["value"]),
                "interval": ends,
                "note": row["note"] or "",
                "method": row["method"] or "",
            }
    return {"text": "", "interval": "", "note": "", "method": ""}


def _corruptions(results: Sequence[Row]) -> dict[str, Any] | None:
    """The table of a model: a line a corruption, a column a severity. None where there is none."""
    of_model = [row for row in results if row["stage"] == "corrupt" and row["replica"] is None]
    cells: dict[str, dict[str, Row]] = {}
    for row in of_model:
        name, _, severity = (row["space"] or "").rpartition(" ")
        if row["metric"] == "corruption_accuracy" and name and row["value"] is not None:
            cells.setdefault(name, {})[severity] = row
    if not cells:
        return None
    severities = list(dict.fromkeys(severity for own in cells.values() for severity in own))
    lines = [
        {"name": name.replace("_", " "), "cells": [_cell(own.get(severity)) for severity in severities]}
        for name, own in cells.items()
    ]
    mean = next((row for row in of_model if row["metric"] == "mean_corruption_accuracy"), None)
    return {"severities": severities, "lines": lines, "mean": _cell(mean)}


def _cell(row: Row | None) -> dict[str, str]:
    if row is None or number(row["value"]) is None:
        return {"text": "", "interval": ""}
    ends = [number(row[end]) for end in ("low", "high")]
    interval = "" if None in ends else ", ".join(_percent(end or 0.0) for end in ends)
    return {"text": _percent(row["value"]), "interval": interval}


def _percent(share: float) -> str:
    return show(BY_NAME["robust_accuracy"], share)
