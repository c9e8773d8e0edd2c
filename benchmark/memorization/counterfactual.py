"""Counterfactual memorisation of every image: how much likelier a model is right on it for having trained on it."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

MEMORIZED = 0.25
"""An image of this memorisation or more counts as memorised (Feldman and Zhang 2020, Sec. 3)."""


class Memorization(NamedTuple):
    """Of P images, (P,) each.

    value: in [-1, 1]. standard_error: of it. Both are NaN where an image was never trained on, or always.
    num_in, num_out: models that were trained on it, and that never saw it.
    """

    value: Floats
    standard_error: Floats
    num_in: npt.NDArray[np.int64]
    num_out: npt.NDArray[np.int64]


def counterfactual_memorization(correct: Bools, trained_on: Bools, never_seen: Bools) -> Memorization:
    """P(right | trained on it) - P(right | not trained on it) over R models (Feldman and Zhang 2020, arXiv 2008.03703).

    correct, trained_on, never_seen: (R, P). A model counts neither way for an image that it was not trained on, but
    saw a near-duplicate of.

    Deviations: models are trained on halves of the images, not on 70% of them. The source bounds the error of its
    estimates together; here each has its own, in which a right and a wrong answer are added to either side (Agresti
    and Caffo 2000), so that eight right of eight are not taken for certainty.
    """
    assert correct.shape == trained_on.shape == never_seen.shape and correct.ndim == 2, correct.shape
    assert not (trained_on & never_seen).any(), "an image is trained on and never seen"
    rates, variance = [], 0.0
    counts = [trained_on.sum(0), never_seen.sum(0)]
    for side, count in zip((trained_on, never_seen), counts, strict=True):
        right = (correct & side).sum(0)
        rates.append(right / np.where(count > 0, count, np.nan))
        likely = (right + 1) / (count + 2)
        variance = variance + likely * (1 - likely) / (count + 2)
    value = rates[0] - rates[1]
    return Memorization(value, np.where(np.isnan(value), np.nan, np.sqrt(variance)), counts[0], counts[1])


def difference_of_means(values: Floats, trained_on: Bools, never_seen: Bools) -> Floats:
    """(P,) mean of `values` over the models that were trained on an image, minus that over those that never saw it.

    values, trained_on, never_seen: (R, P). NaN where one side has no model.
    """
    return mean_over(values, trained_on) - mean_over(values, never_seen)


def mean_over(values: Floats, models: Bools) -> Floats:
    """(P,) mean of values (R, P) over the models that count for an image, (R, P) bool; NaN where none does."""
    count = models.sum(0)
    mean: Floats = np.where(models, values, 0.0).sum(0) / np.where(count > 0, count, np.nan)
    return mean


def memorized_share(value: Floats) -> tuple[float, float]:
    """(Share of images of memorisation >= `MEMORIZED` beyond chance, its standard error); NaN are left out.

    With few models many an image reaches it by luck, and as many its negative; so the share of those that reach
    minus the value is taken off: the null value is 0. The standard error takes images for independent.
    Raises ValueError for no value.
    """
    known = value[~np.isnan(value)]
    if not len(known):
        raise ValueError("no image has a value; allowed: at least one")
    signs = (known >= MEMORIZED).astype(float) - (known <= -MEMORIZED)
    return float(signs.mean()), float(signs.std() / np.sqrt(len(signs)))
