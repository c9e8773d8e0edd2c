"""Spearman's rank correlation, with an interval that holds for ties and any shape of dependence."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from benchmark.stats.intervals import Interval, check_level

Floats = npt.NDArray[np.float64]
_FEWEST = 10
"""Pairs of values below which no interval is given."""


class _Ranked(NamedTuple):
    """place: (N,) of each value among the distinct ones. share: (N,) of values below it, ties counting one half."""

    place: npt.NDArray[np.int64]
    share: Floats


def rank_correlation(
    first: npt.ArrayLike, second: npt.ArrayLike, clusters: npt.ArrayLike | None = None, level: float = 0.95
) -> Interval | None:
    """Spearman's correlation of (N,) and (N,) values, ties at their mean rank; pairs with NaN are left out.

    clusters: (N,) integers; values of equal number, such as those of near-duplicates, are one draw.
    None where fewer than 10 pairs are left, or one side is all ties.

    The interval is by the infinitesimal jackknife (Efron 1982): the variance is the mean square of what each pair
    contributes, its effect on the ranks of all others included; on Fisher's z scale. It is never narrower than that of
    unrelated values, whose variance is 1 / (N - 1) whatever their ties: where one value alone differs from all others,
    no resampling of pairs sees how uncertain its place is.
    """
    check_level(level)
    x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    assert x.ndim == 1 and x.shape == y.shape, (x.shape, y.shape)
    known = ~(np.isnan(x) | np.isnan(y))
    n = int(known.sum())
    if n < _FEWEST:
        return None
    a, b = _ranked(x[known]), _ranked(y[known])
    variances = [_covariance(one, one) for one in (a, b)]
    if min(variances) < 1e-12:
        return None
    scale = float(np.sqrt(variances[0] * variances[1]))
    value = float(np.clip(_covariance(a, b) / scale, -1, 1))
    effect = _influence(a, b) / scale - value / 2 * (_influence(a, a) / variances[0] + _influence(b, b) / variances[1])
    units = n
    if clusters is not None:
        _, number = np.unique(np.asarray(clusters)[known], return_inverse=True)
        effect = np.bincount(number, weights=effect).astype(np.float64)
        units = len(effect)
    error = float(np.sqrt((effect**2).sum())) / n
    if abs(value) > 1 - 1e-12:
        return Interval(value, value, value, n)
    half = float(ndtri((1 + level) / 2)) * max(error / (1 - value**2), 1 / np.sqrt(max(units - 1, 1)))
    low, high = np.tanh(np.arctanh(value) + np.array([-half, half]))
    return Interval(value, float(low), float(high), n)


def _ranked(values: Floats) -> _Ranked:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    below = counts.cumsum() - counts
    return _Ranked(place, ((below + counts / 2) / len(values))[place])


def _covariance(a: _Ranked, b: _Ranked) -> float:
    return float((a.share * b.share).mean()) - 0.25  # the mean of the shares is 1/2


def _influence(a: _Ranked, b: _Ranked) -> Floats:
    """(N,) effect of one more pair, at each of the pairs, on the covariance of the shares."""
    own = a.share * b.share
    effect: Floats = own - own.mean() + _raised(a, b.share) + _raised(b, a.share)
    return effect


def _raised(a: _Ranked, weights: Floats) -> Floats:
    """(N,) of each pair: the mean of weights (N,) over values above its own, ties one half, less the usual one.

    A further value raises the shares of those above it.
    """
    sums = np.bincount(a.place, weights=weights)
    above = sums.sum() - sums.cumsum() + sums / 2
    mean: Floats = above[a.place] / len(weights) - float((a.share * weights).mean())
    return mean
