"""Medians, with intervals from order statistics; one replica, or several that were judged on the same images."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr

from benchmark.stats.crossed import freedom_of, t_quantile, unit_variance
from benchmark.stats.intervals import Interval, check_level, envelope, normal_quantile


def median_interval(values: npt.ArrayLike, level: float = 0.95) -> Interval:
    """Median with the interval of order statistics (Thompson 1936), which assumes no distribution.

    values: (N,), infinite allowed. The ends are the k-th smallest and the k-th largest value, k the most at which both
    tails of a fair coin thrown N times leave `level` inside; the smallest and largest value where N is too small for
    any k. Raises ValueError for no value or NaN.
    """
    check_level(level)
    ordered = np.sort(np.asarray(values, dtype=np.float64).ravel())
    n = len(ordered)
    if n == 0 or bool(np.isnan(ordered).any()):
        raise ValueError(f"{n} values, {int(np.isnan(ordered).sum())} of them NaN; allowed: at least 1, none NaN")
    below = bdtr(np.arange(n), n, 0.5)  # P(at most k of n values below the median)
    k = max(int((below <= (1 - level) / 2).sum()), 1)
    middle = ordered[(n - 1) // 2], ordered[n // 2]
    value = middle[0] if middle[0] == middle[1] else float(np.mean(middle))
    return Interval(float(value), float(ordered[k - 1]), float(ordered[n - k]), n)


def mean_of_medians(medians: Sequence[Interval], pairs: Sequence[int], level: float = 0.95) -> Interval:
    """Mean over replicas of medians over the same images: t, from one draw of the images and the spread between pairs.

    medians: of each replica, finite, as `median_interval` gives them at 95%. In envelope with the mean of their
    intervals. Raises ValueError if there is none.
    """
    if not medians:
        raise ValueError("no median; allowed: at least one")
    values = np.array([median.value for median in medians])
    low, high = (float(np.mean([getattr(median, end) for median in medians])) for end in ("low", "high"))
    value, of_images = float(values.mean()), ((high - low) / 2 / normal_quantile(0.95)) ** 2
    between, units = unit_variance(values, pairs)
    half = t_quantile(freedom_of(of_images + between, between, units), level) * math.sqrt(of_images + between)
    return envelope(value, min(median.n for median in medians), (max(value - half, 0.0), value + half), (low, high))
