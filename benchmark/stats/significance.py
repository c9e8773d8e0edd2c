"""Tests against the null that members and non-members are exchangeable, and their correction."""

import itertools

import numpy as np
import numpy.typing as npt

_MAX_EXACT = 12
"""Clusters up to which all 2^n swaps are enumerated."""


def swap_test(values: npt.ArrayLike, seed: int, num_draws: int = 9999) -> float:
    """Two-sided p-value of a mean different from 0.5, by swapping the labels IN and OUT.

    values: (R replicas, C classes, S samples), 1 where IN is nearer, 0 where OUT is, 0.5 for a tie, NaN
    where absent. Members and non-members of a class are a random cut, so under the null a swap of a
    (replica, class) turns v into 1 - v with equal chance; samples of a class share neighbours and are
    swapped together. All 2^n swaps of the n clusters that are not at 0.5 are enumerated for n <= 12;
    beyond that `num_draws` random swaps, with (hits + 1) / (draws + 1) so that p is never 0.
    Raises ValueError if no sample is present.
    """
    cells = np.asarray(values, dtype=np.float64)
    assert cells.ndim == 3, cells.shape
    if np.isnan(cells).all():
        raise ValueError(f"values of shape {cells.shape} holds no sample; allowed: at least one that is not NaN")
    sums = np.nansum(cells - 0.5, axis=2).ravel()
    sums = sums[sums != 0]
    threshold = abs(sums.sum()) - 1e-9  # a swap that repeats the observed value must count, whatever the rounding
    if len(sums) <= _MAX_EXACT:
        signs = np.array(list(itertools.product((1, -1), repeat=len(sums))))
        return float((np.abs(signs @ sums) >= threshold).mean())
    signs = np.random.default_rng(seed).choice(np.array([1, -1], dtype=np.int8), size=(num_draws, len(sums)))
    hits = int((np.abs(signs @ sums) >= threshold).sum())
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
