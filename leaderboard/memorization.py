"""Prepares what a model's page shows of single images: the most memorised, how that goes with exposure, ROC curves."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from leaderboard.columns import Column, plain, steps
from leaderboard.parquet_rows import Row, group, number, rows
from leaderboard.picture_scripts import uri
from leaderboard.picture_views import png
from leaderboard.reasons import UNKNOWN, why_empty
from leaderboard.svg_charts import cloud, roc, style

MOST_SHOWN, MOST_POINTS = 24, 1500
_PAIRS = {
    "memorization_exposure": ("memorisation", "exposure"),
    "memorization_exposure_gap": ("memorisation", "exposure as a member less exposure as a non-member"),
    "memorization_cosine": ("memorisation", "cosine to the nearest reconstruction"),
    "memorization_membership": ("memorisation", "membership score"),
    "memorization_robust_margin": ("memorisation", "robust margin"),
    "membership_exposure": ("membership score", "exposure"),
    "membership_robust_margin": ("membership score", "robust margin"),
}
"""Metric -> what is correlated with what."""
_MEAN = Column(
    "memorization_mean", "memorisation", "Membership", stages=steps("memorization"), metric="memorization_mean"
)
"""What is empty where no image's memorisation was measured."""


def section(
    primary: str | None, own: pa.Table, results: Sequence[Row], status: Sequence[Row], pictures: pa.Table
) -> dict[str, Any]:
    """What the page says of a model's images.

    primary: the suite's primary inversion. own: the model's rows of `schema.IMAGES`. results: the model's. status: its
    trials and those that all models share. pictures: rows of `schema.PICTURES` of the suite.
    """
    names = list(dict.fromkeys(own["inversion"].to_pylist()))
    inversion = primary if primary in names else next(iter(names), "")
    own = own.filter(pc.equal(own["inversion"], inversion)) if names else own
    known = own.filter(pc.is_valid(own["memorization"]))
    return {
        "why": "" if len(known) else _why(results, status),
        "most": _most(known, pictures),
        "charts": _charts(known, inversion or "") if len(known) else [],
        "correlations": _correlations(results),
        "answer": _answer(results, inversion or ""),
        "num_images": len(known),
        "inversion": inversion,
        "summary": {
            row["metric"]: _printed(row) for row in results if row["metric"] in _SUMMARY and row["value"] is not None
        },
    }


_SUMMARY = ("memorization_mean", "memorized_share")


def curves(own: Sequence[Row]) -> dict[str, Any] | None:
    """The ROC chart of a model's membership attacks with its legend; None where there is none. own: its points."""
    found = {
        method or "membership attack": sorted((row["fpr"], row["tpr"]) for row in points)
        for (method,), points in group(filter(_is_point, own), "method").items()
    }
    if not found:
        return None
    legend = [
        {"style": style(i), "name": name, "rates": _rates(points)} for i, (name, points) in enumerate(found.items())
    ]
    return {"svg": roc(found), "legend": legend}


def _is_point(row: Row) -> bool:
    fpr, tpr = number(row["fpr"]), number(row["tpr"])
    return fpr is not None and tpr is not None and 0 < fpr <= 1 and 0 <= tpr <= 1


def _rates(points: Sequence[tuple[float, float]]) -> list[str]:
    """Members found at 10%, 1% and 0.1% false alarms; "" where there are too few non-members for it."""
    found = []
    for rate in (0.1, 0.01, 0.001):
        below = [tpr for fpr, tpr in points if fpr <= rate + 1e-9]
        found.append(f"{100 * below[-1]:.1f}%" if below else "")
    return found


def _why(results: Sequence[Row], status: Sequence[Row]) -> str:
    if not any(trial["stage"] == "memorization" for trial in status):
        return "these results hold no trials that ask every replica about every image"
    why = why_empty(_MEAN, results, status, {})
    return "the results give no reason" if why == UNKNOWN else why


def _most(known: pa.Table, pictures: pa.Table) -> list[dict[str, Any]]:
    order = pc.sort_indices(
        known, sort_keys=[("memorization", "descending"), ("margin_gap", "descending"), ("image_id", "ascending")]
    )
    most = known.take(order[: 4 * MOST_SHOWN])
    kept = pictures.filter(pc.is_in(pictures["image_id"], value_set=most["image_id"]))
    shown = {row["image_id"]: row for row in rows(kept)}
    found: list[dict[str, Any]] = []
    for row in rows(most):
        picture = shown.get(row["image_id"])
        image = png(picture["image_png"]) if picture else None
        if image and picture and row["memorization"] > 0 and len(found) < MOST_SHOWN:
            name = picture["class_name"] or f"class {row['class_id']}"
            error = number(row["memorization_error"])
            found.append(
                {
                    "uri": uri(image),
                    "id": row["image_id"],
                    "name": name,
                    "value": f"{row['memorization']:.2f}",
                    "error": "" if error is None else f"{error:.2f}",
                    "hits": [row[f"{side}_pixel"] for side in ("exposure", "exposure_out")],
                }
            )
    return found


def _charts(known: pa.Table, inversion: str) -> list[dict[str, Any]]:
    """Memorisation against the membership score and the exposure, as far as they are there."""
    x = known["memorization"].to_numpy()
    charts = []
    for name, title in (("membership_score", "membership score"), ("exposure_pixel", "exposure in pixels")):
        y = known[name].to_numpy().astype(np.float64)
        there = ~np.isnan(y)
        if not there.any():
            continue
        few = np.flatnonzero(there)[:: max(1, int(there.sum()) // MOST_POINTS + (there.sum() > MOST_POINTS))]
        spread = np.random.default_rng(0).uniform(-1, 1, (2, len(few)))
        high = 1.0 if name == "membership_score" else max(1.0, float(y[there].max()))
        # Few models give few different values: a little noise keeps equal points apart.
        shaken = [
            (a + 0.02 * s, b + (0.0 if high == 1.0 else 0.2 * t))
            for a, b, s, t in zip(x[few], y[few], *spread, strict=True)
        ]
        told = f"Memorisation against {title}, {len(few)} of {int(there.sum())} images"
        svg = cloud([(float(a), float(b)) for a, b in shaken], told, ("memorisation", title), (0.0, high))
        charts.append(
            {"svg": svg, "told": told + (f", under {inversion}" if name == "exposure_pixel" and inversion else "")}
        )
    return charts


def _correlations(results: Sequence[Row]) -> list[dict[str, Any]]:
    lines = []
    for metric, (first, second) in _PAIRS.items():
        for row in results:
            if row["metric"] == metric and row["replica"] is None and row["value"] is not None:
                place = {name: row[name] or "" for name in ("method", "space")}
                lines.append(
                    {
                        "first": first,
                        "second": second,
                        **place,
                        **_printed(row),
                        "n": row["n"],
                        "note": row["note"] or "",
                    }
                )
    return lines


def _printed(row: Row) -> dict[str, str]:
    low, high = plain(row["low"]), plain(row["high"])
    return {"text": plain(row["value"]), "interval": f"{low}, {high}" if low and high else ""}


def _answer(results: Sequence[Row], inversion: str) -> str:
    """Are the images that inversion shows the memorised ones? A sentence; "" where it was not measured."""
    found = [
        row
        for row in results
        if row["metric"] == "memorization_exposure_gap"
        and row["method"] == inversion
        and number(row["low"]) is not None
    ]
    if not found:
        return ""
    more = [row["space"] or "" for row in found if row["low"] > 0]
    less = [row["space"] or "" for row in found if row["high"] < 0]
    if not more and not less:
        spaces = "every feature space" if len(found) > 1 else "the feature space measured"
        return (
            f"Not that these numbers tell: the correlation with the exposure gap has an interval around 0 in {spaces}."
        )
    hit = "as a member than as a non-member the nearest of a reconstruction"
    parts = [
        f"{word} in {', '.join(names)}: the more memorised an image, the {often} it is rather {hit}"
        for word, names, often in (("yes", more, "more often"), ("the reverse", less, "less often"))
        if names
    ]
    text, largest = "; ".join(parts), max(abs(row["value"]) for row in found)
    return f"{text[:1].upper()}{text[1:]}. Largest correlation: {largest:.2f}; intervals of one space each, not of all."
