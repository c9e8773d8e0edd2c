"""Closed-form intervals for proportions and their differences."""

import math
from typing import NamedTuple

from scipy.special import betaincinv, ndtri


class Interval(NamedTuple):
    """A value with its interval. `n` counts the units (images, reconstructions) behind it."""

    value: float
    low: float
    high: float
    n: int


def envelope(value: float, n: int, *ranges: tuple[float, float]) -> Interval:
    """The smallest interval that contains `value` and every (low, high) of `ranges`."""
    low = min(value, *(low for low, _ in ranges))
    high = max(value, *(high for _, high in ranges))
    return Interval(value, low, high, n)


def clopper_pearson(k: float, n: int, level: float = 0.95) -> Interval:
    """Exact interval of a proportion (Clopper and Pearson 1934): k successes in n trials.

    k may be fractional (a mean count, ties that count one half); the beta quantiles interpolate.
    Raises ValueError if n < 1, k is outside [0, n] or level is outside (0, 1).
    """
    check_level(level)
    if n < 1:
        raise ValueError(f"n is {n}; allowed: at least 1, since nothing was counted")
    if not 0 <= k <= n:
        raise ValueError(f"k is {k}; allowed: 0 to n = {n}")
    tail = (1 - level) / 2
    low = float(betaincinv(k, n - k + 1, tail)) if k > 0 else 0.0
    high = float(betaincinv(k + 1, n - k, 1 - tail)) if k < n else 1.0
    return Interval(k / n, low, high, n)


def newcombe_difference(k_a: float, n_a: int, k_b: float, n_b: int, level: float = 0.95) -> Interval:
    """Hybrid score interval of p_a - p_b, independent samples (Newcombe 1998, method 10).

    It stays inside [-1, 1] and has width also where both proportions are 0 or 1.
    Counts may be fractional. Raises ValueError as `clopper_pearson` does.
    """
    p_a, low_a, high_a = _wilson(k_a, n_a, level)
    p_b, low_b, high_b = _wilson(k_b, n_b, level)
    value = p_a - p_b
    low = value - math.hypot(p_a - low_a, high_b - p_b)
    high = value + math.hypot(high_a - p_a, p_b - low_b)
    return Interval(value, max(low, -1.0), min(high, 1.0), n_a + n_b)


def _wilson(k: float, n: int, level: float) -> tuple[float, float, float]:
    """Proportion, low and high of the score interval (Wilson 1927)."""
    p = clopper_pearson(k, n, level).value  # for its checks
    z = normal_quantile(level)
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return p, max(centre - half, 0.0), min(centre + half, 1.0)


def normal_quantile(level: float) -> float:
    """Half width of a two-sided normal interval in standard errors: 1.96 for 0.95."""
    check_level(level)
    return float(ndtri((1 + level) / 2))


def check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; allowed: between 0 and 1")
