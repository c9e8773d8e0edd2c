"""Intervals of what one trained model's reconstructions show, by seeded resampling of classes and samples.

They say nothing of other trainings: over replicas, `crossed` has intervals that do.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from benchmark.stats.intervals import Interval, check_level, clopper_pearson, envelope

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_CHUNK = 2_000_000
"""Resampled values held in memory at a time."""


def hierarchical_bootstrap(
    values: npt.ArrayLike, seed: int, num_resamples: int = 2000, level: float = 0.95
) -> Interval:
    """Mean with the percentile interval of a nested bootstrap: replicas, classes within, samples within.

    values: (R replicas, C classes, S samples), NaN where a sample is absent. Every present sample weighs
    the same. Meant for R = 1: resampling two or four replicas cannot show how much others would differ
    (perf/coverage.py). Seed it; equal input, equal interval.
    Raises ValueError if no sample is present or level is outside (0, 1).
    """
    cells = _three_way(values, "values")
    means = np.concatenate(list(_resampled_means(cells, seed, num_resamples)))
    low, high = _percentiles(means, level)
    return Interval(float(np.nanmean(cells)), low, high, int(np.count_nonzero(~np.isnan(cells))))


def rate_interval(values: npt.ArrayLike, seed: int, num_resamples: int = 2000, level: float = 0.95) -> Interval:
    """Mean of indicators (0, 0.5 for a tie, 1) of shape (R, C, S), with an interval that is never empty.

    The envelope of `hierarchical_bootstrap` and Clopper-Pearson over all units: where every indicator is
    equal, resampling has nothing to vary and would claim certainty from a handful of samples.
    Raises ValueError as `hierarchical_bootstrap` does, and for values outside [0, 1].
    """
    boot = hierarchical_bootstrap(_indicators(values, "values"), seed, num_resamples, level)
    exact = clopper_pearson(boot.value * boot.n, boot.n, level)
    return envelope(boot.value, boot.n, (boot.low, boot.high), (exact.low, exact.high))


def _percentiles(draws: Floats, level: float) -> tuple[float, float]:
    check_level(level)
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _three_way(values: npt.ArrayLike, name: str) -> Floats:
    cells = np.asarray(values, dtype=np.float64)
    assert cells.ndim == 3, f"{name} has shape {cells.shape}; expected (replicas, classes, samples)"
    if np.isnan(cells).all():
        raise ValueError(f"{name} of shape {cells.shape} holds no sample; allowed: at least one that is not NaN")
    return cells


def _indicators(values: npt.ArrayLike, name: str) -> Floats:
    cells = _three_way(values, name)
    if np.nanmin(cells) < 0 or np.nanmax(cells) > 1:
        raise ValueError(f"{name} spans {np.nanmin(cells)} to {np.nanmax(cells)}; allowed: 0 to 1")
    return cells


def _has_sample(cells: Floats) -> npt.NDArray[np.bool_]:
    """(R, C): the class has a sample in this replica."""
    present: npt.NDArray[np.bool_] = np.any(~np.isnan(cells), axis=2)
    return present


def _resampled_means(cells: Floats, seed: int, num_resamples: int) -> Iterator[Floats]:
    """Chunks of resampled means, (chunk,) each."""
    rng = np.random.default_rng(seed)
    has_class = _has_sample(cells)
    has_any = has_class.any(axis=1)
    num_classes = has_class.sum(axis=1)[has_any]
    order = np.argsort(~has_class[has_any], axis=1, kind="stable")  # classes with samples first
    values, sizes = _pack(np.take_along_axis(cells[has_any], order[:, :, None], axis=1))
    R, C = order.shape
    chunk = max(1, _CHUNK // (R * C * cells.shape[2]))
    for start in range(0, num_resamples, chunk):
        size = min(chunk, num_resamples - start)
        replica = rng.integers(R, size=(size, R))[:, :, None]
        available = num_classes[replica]
        drawn = np.arange(C) < available
        class_ = (rng.random((size, R, C)) * available).astype(np.int64)
        yield _draw_samples(values, sizes, replica, class_, drawn, rng)


def _pack(cells: Floats) -> tuple[Floats, Ints]:
    """The present samples of each cell first, and how many there are: (R, C, S), (R, C)."""
    absent = np.isnan(cells)
    order = np.argsort(absent, axis=2, kind="stable")
    return np.nan_to_num(np.take_along_axis(cells, order, axis=2)), (~absent).sum(axis=2)


def _draw_samples(
    values: Floats, sizes: Ints, replica: Ints, class_: Ints, drawn: npt.NDArray[np.bool_], rng: np.random.Generator
) -> Floats:
    """(chunk,) means over as many samples of each drawn cell as it has, with replacement."""
    C, S = values.shape[1:]
    cell = replica * C + class_
    num = (sizes.ravel()[cell] * drawn)[..., None]
    place = rng.random((*class_.shape, S))
    place *= num
    sample = place.astype(np.int64)
    sample += cell[..., None] * S
    taken = values.ravel().take(sample)  # several times as fast as three indices
    if (num < S).any():
        taken *= np.arange(S) < num
    means: Floats = taken.sum(axis=(1, 2, 3)) / num.sum(axis=(1, 2, 3))
    return means
