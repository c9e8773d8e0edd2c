"""Differences between two models: an interval of the difference, and its p-value."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from benchmark.stats.crossed import Crossed
from benchmark.stats.intervals import Interval, newcombe_difference, normal_quantile

Floats = npt.NDArray[np.float64]


class Difference(NamedTuple):
    """Value of one model minus that of another, with its 95% interval. p_value: two-sided, of no difference."""

    value: float
    low: float
    high: float
    p_value: float


def paired_difference(one: Crossed, other: Crossed) -> Difference:
    """Two means over the same pairs, and the same classes or images; what they share leaves the difference.

    Raises ValueError where they have not the same.
    """
    found = one.minus(other)
    interval = found.interval()
    return Difference(interval.value, interval.low, interval.high, found.p_value())


def share_difference(one: Crossed, other: Crossed) -> Difference:
    """`paired_difference` of two shares, in envelope with Newcombe's interval, whose p-value it has if that is larger.

    So that it keeps a width where one model is at 0 or 1 throughout.
    """
    found = paired_difference(one, other)
    shares = [(min(max(each.value, 0.0), 1.0) * each.n, each.n) for each in (one, other)]
    score = newcombe_difference(*shares[0], *shares[1])
    p_value = max(found.p_value, p_value_of(score))
    low, high = max(min(found.low, score.low), -1.0), min(max(found.high, score.high), 1.0)
    return Difference(found.value, low, high, p_value)


def independent_difference(one: Interval, other: Interval) -> Difference:
    """The difference of two values with 95% intervals, as if they were independent (Zou and Donner 2008, MOVER).

    Models of a suite are judged on the same images and members, which makes their values rise and fall together: this
    errs on the wide side where no paired difference can be had.
    """
    value = one.value - other.value
    low = value - math.hypot(one.value - one.low, other.high - other.value)
    high = value + math.hypot(one.high - one.value, other.value - other.low)
    return Difference(value, low, high, p_value_of(Interval(value, low, high, one.n + other.n)))


def p_value_of(interval: Interval) -> float:
    """Two-sided p-value of 0, from a 95% interval that is normal on the side that faces 0."""
    if interval.value == 0:
        return 1.0
    facing = interval.value - interval.low if interval.value > 0 else interval.high - interval.value
    error = facing / normal_quantile(0.95)
    return float(2 * ndtr(-abs(interval.value) / error)) if error > 0 else 0.0


def independent_differences(values: Floats, lows: Floats, highs: Floats) -> tuple[Floats, Floats]:
    """(M, M) differences and p-values of M models, as `independent_difference`; NaN where one was not measured."""
    value = values[:, None] - values
    below = np.hypot((values - lows)[:, None], highs - values)
    error = np.where(value > 0, below, below.T) / normal_quantile(0.95)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.where(value == 0, 1.0, 2 * ndtr(-np.abs(value) / error))
    return value, p
