"""Prepares what a model's page shows of its training: loss and accuracy after each epoch."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from leaderboard.parquet_rows import Row, group, number
from leaderboard.svg_charts import Points, by_epoch, style

_EPOCH = re.compile(r"([a-z_]+)_epoch_([1-9][0-9]{0,5})")
_LOSS = "train_loss"
_ACCURACIES = {
    "validation_accuracy": "clean, on auxiliary images",
    "validation_robust_accuracy": "robust, on auxiliary images",
    "training_robust_accuracy": "robust, on training images",
}
"""Metric -> name of its line."""
_SAID = ("early_stopping_epoch", "catastrophic_overfitting")


def section(results: Sequence[Row]) -> dict[str, Any] | None:
    """Charts of the loss and of accuracies, each a mean over the replicas that reached the epoch; None without any.

    results: the model's rows of `schema.RESULTS`. `said`: what a training says of how it ended, with its replicas.
    """
    trained = [row for row in results if row["stage"] == "train" and row["replica"] is not None]
    found = _curves(trained)
    accuracies = {name: found[metric] for metric, name in _ACCURACIES.items() if metric in found}
    charts = [_chart({"mean loss": found[_LOSS]}, "training loss")] if _LOSS in found else []
    charts += [_chart(accuracies, "accuracy", (0.0, 1.0))] if accuracies else []
    return {"charts": charts, "said": _said(trained), "watched": bool(accuracies)} if charts else None


def _curves(trained: Sequence[Row]) -> dict[str, Points]:
    """Metric -> (epoch, mean over replicas), ascending."""
    values: dict[str, dict[int, list[float]]] = {}
    for row in trained:
        match, value = _EPOCH.fullmatch(row["metric"] or ""), number(row["value"])
        if match and value is not None:
            values.setdefault(match[1], {}).setdefault(int(match[2]), []).append(value)
    return {
        metric: [(epoch, sum(each) / len(each)) for epoch, each in sorted(epochs.items())]
        for metric, epochs in values.items()
    }


def _chart(curves: Mapping[str, Points], name: str, ends: tuple[float, float] | None = None) -> dict[str, Any]:
    heights = [y for points in curves.values() for _, y in points]
    low, high = ends or (min(0.0, *heights), max(heights))
    legend = [{"style": style(i), "name": each} for i, each in enumerate(curves)]
    return {"svg": by_epoch(curves, name, (low, high if high > low else low + 1)), "legend": legend, "name": name}


def _said(trained: Sequence[Row]) -> list[str]:
    told = [row for row in trained if row["metric"] in _SAID and row["note"] and row["value"]]
    return [
        f"replica {', '.join(str(row['replica']) for row in rows)}: {metric.replace('_', ' ')} {value:g}: {note}"
        for (metric, value, note), rows in group(told, "metric", "value", "note").items()
    ]
