"""Memorisation of every private image, from whether each replica was right on it."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from benchmark.rederivation.kept import Arrays, Kept
from benchmark.rederivation.numbers import CLOSE, Check, Number

Floats = npt.NDArray[np.float64]
_HALF = 1.96
_MEMORIZED = 0.25


def numbers(kept: Kept) -> Iterator[Number]:
    """The means over images, with intervals over images."""
    for node in kept.of("memorization"):
        value = values(list(kept.queries(node).values()))["memorization"]
        known = value[~np.isnan(value)]
        signs = (known >= _MEMORIZED).astype(float) - (known <= -_MEMORIZED)
        for metric, each in (("memorization_mean", known), ("memorized_share", signs)):
            half = _HALF * each.std() / np.sqrt(max(len(each), 1)) if len(each) else 0.0
            middle = float(each.mean()) if len(each) else None
            ends = (None, None) if middle is None else (middle - half, middle + half)
            yield Number(node.place(metric), middle, *ends)


def of_images(kept: Kept) -> Iterator[Check]:
    """The table of images against the outcomes."""
    for node in kept.of("memorization"):
        table, queries = kept.table(node.key, "memorization"), kept.queries(node)
        found = values(list(queries.values()))
        attacked = list(queries.values())[: node.settings["num_attacked"]]
        found["attacked_in"] = np.sum([query["is_member"] for query in attacked], axis=0)
        for name, each in found.items():
            stored = table[name].astype(np.float64)
            gap = np.abs(each - stored)
            odd = np.isnan(each) != np.isnan(stored)
            largest = np.inf if odd.any() else float(np.nanmax(gap, initial=0.0))
            yield Check(f"{name}, each image", largest, CLOSE, node.place("").words())


def values(queries: list[Arrays]) -> dict[str, Floats]:
    """Of P images from R replicas: P(right | trained on it) - P(right | never seen), its error, mean margins."""
    stacked = {name: np.stack([query[name] for query in queries]) for name in ("correct", "is_member", "never_seen")}
    margins = np.stack([query["margins"][:, 0] for query in queries])
    sides = stacked["is_member"], stacked["never_seen"]
    right, error, gap = [], 0.0, []
    for side in sides:
        outcomes = np.where(side, stacked["correct"], np.nan)
        right.append(mean_over(outcomes))
        count = side.sum(axis=0)
        likely = (np.nansum(outcomes, axis=0) + 1) / (count + 2)
        error = error + likely * (1 - likely) / (count + 2)
        gap.append(mean_over(np.where(side, margins, np.nan)))
    value = right[0] - right[1]
    return {
        "memorization": value,
        "memorization_error": np.where(np.isnan(value), np.nan, np.sqrt(error)),
        "margin_gap": gap[0] - gap[1],
        "num_in": sides[0].sum(axis=0).astype(float),
        "num_out": sides[1].sum(axis=0).astype(float),
    }


def mean_over(each: Floats) -> Floats:
    """(P,) means of (R, P) over the replicas that are not NaN; NaN where all are."""
    there = ~np.isnan(each)
    total: Floats = np.nansum(each, axis=0) / np.where(there.any(axis=0), there.sum(axis=0), np.nan)
    return total
