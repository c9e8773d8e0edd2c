"""Differences between two models: an interval of the difference, and its p-value."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

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
    p_value = max(found.p_value, float(p_value_of(*score[:3])))
    low, high = max(min(found.low, score.low), -1.0), min(max(found.high, score.high), 1.0)
    return Difference(found.value, low, high, p_value)


def independent_difference(one: Interval, other: Interval) -> Difference:
    """The difference of two values with 95% intervals, as if they were independent (Zou and Donner 2008, MOVER).

    Models of a suite are judged on the same images and members, which makes their values rise and fall together: this
    errs on the wide side where no paired difference can be had.
    """
    return Difference(*map(float, _independent(one[:3], other[:3], math.hypot)))


def independent_differences(values: Floats, lows: Floats, highs: Floats) -> tuple[Floats, Floats]:
    """(M, M) differences and p-values of M models, as `independent_difference`; NaN where one was not measured."""
    ends = np.stack([values, lows, highs])
    value, _, _, p = _independent(ends[:, :, None], ends[:, None, :], np.hypot)
    return value, p


def _independent(one: Any, other: Any, hypot: Callable[..., Any]) -> tuple[Any, Any, Any, Any]:
    """The fields of `Difference`. one, other: (value, low, high), numbers or arrays that broadcast; hypot: of those."""
    (a, low_a, high_a), (b, low_b, high_b) = one, other
    value = a - b
    low, high = value - hypot(a - low_a, high_b - b), value + hypot(high_a - a, b - low_b)
    return value, low, high, p_value_of(value, low, high)


def p_value_of(value: Any, low: Any, high: Any) -> Any:
    """Two-sided p-value of 0, from a 95% interval that is normal on the side that faces 0. Numbers or arrays."""
    error = np.where(value > 0, value - low, high - value) / normal_quantile(0.95)
    with np.errstate(divide="ignore", invalid="ignore"):  # 0 / 0 is a value of 0
        return np.where(value == 0, 1.0, 2 * ndtr(-np.abs(value) / error))
