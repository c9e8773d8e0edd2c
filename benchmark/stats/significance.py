"""Tests of the null hypothesis that members and non-members are exchangeable, and corrections for many tests."""

import itertools

import numpy as np
import numpy.typing as npt

_MAX_EXACT = 12
"""Clusters up to which all 2^n swaps are enumerated."""
_CHUNK = 1000
"""Random swaps held in memory at a time."""


def swap_test(values: npt.ArrayLike, seed: int, clusters: npt.ArrayLike | None = None, num_draws: int = 9999) -> float:
    """Two-sided p-value of a mean different from 0.5, by swapping the labels IN and OUT.

    values: (R replicas, C classes, S samples), 1 where IN is nearer, 0 where OUT is, 0.5 for a tie, NaN
    where absent. clusters: integers of the same shape; samples with equal numbers are swapped together, a
    swap turns v into 1 - v. Left out, a cluster is a (replica, class).

    The cut into members and non-members is random, so under the null the label of each image is a fair
    coin, and a sample's v is the label of the image nearest to it. Where many samples share a nearest image
    (noise does), number the clusters by (replica pair, nearest image): samples of both replicas of a pair
    that point at one image depend on one coin. Clusters by class are too optimistic then.

    All 2^n swaps of the n clusters that are not at 0.5 are enumerated for n <= 12; beyond that `num_draws`
    random swaps, with (hits + 1) / (draws + 1) so that p is never 0.
    Raises ValueError if no sample is present.
    """
    cells = np.asarray(values, dtype=np.float64)
    assert cells.ndim == 3, cells.shape
    present = ~np.isnan(cells)
    if not present.any():
        raise ValueError(f"values of shape {cells.shape} holds no sample; allowed: at least one that is not NaN")
    if clusters is None:
        clusters = np.arange(cells.shape[0] * cells.shape[1]).reshape(*cells.shape[:2], 1).repeat(cells.shape[2], 2)
    numbers = np.asarray(clusters)
    assert numbers.shape == cells.shape, (numbers.shape, cells.shape)
    _, cluster = np.unique(numbers[present], return_inverse=True)
    sums = np.bincount(cluster, weights=cells[present] - 0.5)
    return _sign_flip_p(sums[sums != 0], seed, num_draws)


def _sign_flip_p(sums: npt.NDArray[np.float64], seed: int, num_draws: int) -> float:
    """Share of sign patterns whose total is at least as far from 0 as that of `sums`."""
    threshold = abs(sums.sum()) - 1e-9  # a pattern that repeats the observed total must count, whatever the rounding
    if len(sums) <= _MAX_EXACT:
        signs = np.array(list(itertools.product((1, -1), repeat=len(sums))))
        return float((np.abs(signs @ sums) >= threshold).mean())
    rng = np.random.default_rng(seed)
    hits = sum(
        int((np.abs(rng.choice((1.0, -1.0), size=(size, len(sums))) @ sums) >= threshold).sum())
        for size in np.diff(np.append(np.arange(0, num_draws, _CHUNK), num_draws))
    )
    return (hits + 1) / (num_draws + 1)


def holm(p_values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """(M,) p-values adjusted for M tests, in the given order (Holm 1979). Reject those <= alpha.

    Raises ValueError for a p-value outside [0, 1].
    """
    p = np.asarray(p_values, dtype=np.float64)
    assert p.ndim == 1, p.shape
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p_values is {p.tolist()}; allowed: 0 to 1 each")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return adjusted
