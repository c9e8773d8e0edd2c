"""Intervals over trained models (replicas), classes and samples, by seeded resampling."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmark.stats.intervals import Interval, check_level, clopper_pearson, envelope, newcombe_difference

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_CHUNK = 2_000_000
"""Resampled values held in memory at a time."""


def hierarchical_bootstrap(
    values: npt.ArrayLike, seed: int, num_resamples: int = 2000, level: float = 0.95
) -> Interval:
    """Mean with the percentile interval of a nested bootstrap: replicas, classes within, samples within.

    values: (R replicas, C classes, S samples), NaN where a sample is absent. Every present sample weighs
    the same. With few replicas the interval is too short where replicas differ more than chance makes
    them: two replicas give at best the spread of the two. Seed it; equal input, equal interval.
    Raises ValueError if no sample is present or level is outside (0, 1).
    """
    cells = _three_way(values, "values")
    means = np.concatenate([a for (a,) in _resampled_means([cells], seed, num_resamples)])
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


def paired_difference(
    values_a: npt.ArrayLike, values_b: npt.ArrayLike, seed: int, num_resamples: int = 2000, level: float = 0.95
) -> Interval:
    """Mean of a minus mean of b, for two regimes whose replicas (and classes) correspond.

    values_a, values_b: (R, C, S_a) and (R, C, S_b), NaN where absent. Replica r of both was trained on the
    same members, so replicas are resampled together, classes within them too, samples separately. A
    (replica, class) that either regime lacks is left out of both.
    Raises ValueError if R or C differ, if no cell is common, or level is outside (0, 1).
    """
    a, b = _common_cells(_three_way(values_a, "values_a"), _three_way(values_b, "values_b"))
    means = np.concatenate([pair[0] - pair[1] for pair in _resampled_means([a, b], seed, num_resamples)])
    low, high = _percentiles(means, level)
    n = int(np.count_nonzero(~np.isnan(a)) + np.count_nonzero(~np.isnan(b)))
    return Interval(float(np.nanmean(a) - np.nanmean(b)), low, high, n)


def paired_rate_difference(
    values_a: npt.ArrayLike, values_b: npt.ArrayLike, seed: int, num_resamples: int = 2000, level: float = 0.95
) -> Interval:
    """`paired_difference` of indicators in [0, 1], in envelope with Newcombe's interval over all units.

    Like `rate_interval` it keeps a width where one regime is at 0 or 1 throughout.
    """
    a, b = _common_cells(_indicators(values_a, "values_a"), _indicators(values_b, "values_b"))
    boot = paired_difference(a, b, seed, num_resamples, level)
    n_a, n_b = (int(np.count_nonzero(~np.isnan(v))) for v in (a, b))
    score = newcombe_difference(float(np.nansum(a)), n_a, float(np.nansum(b)), n_b, level)
    return envelope(boot.value, boot.n, (boot.low, boot.high), (score.low, score.high))


def replicated_rate(
    counts: npt.ArrayLike, n: int | Sequence[int], seed: int, num_resamples: int = 2000, level: float = 0.95
) -> Interval:
    """Mean accuracy of R replicas that were judged on the same n images.

    counts: (R,) images right, fractional where ties count half. n: images, or one number a replica.

    Two things vary: the replica that training happened to give, and the images that happened to be drawn.
    The bootstrap resamples replicas and redraws Binomial(n, p_r) counts, but it treats the images of
    different replicas as independent; they are the same images, so its image part is too small by up to R.
    Clopper-Pearson at the mean count with n images (not R n) is right for shared images but sees no
    replicas. The interval is the envelope of the two. Raises ValueError for counts outside [0, n].
    """
    rates = _Rates.of(counts, n, "counts")
    low, high = _percentiles(rates.redraw(*_replica_draws(len(rates.p), seed, num_resamples)), level)
    value = float(rates.p.mean())
    exact = clopper_pearson(value * rates.num_images, rates.num_images, level)
    return envelope(value, rates.num_images, (low, high), (exact.low, exact.high))


def replicated_difference(
    counts_a: npt.ArrayLike,
    n_a: int | Sequence[int],
    counts_b: npt.ArrayLike,
    n_b: int | Sequence[int],
    seed: int,
    num_resamples: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Mean difference of two accuracies of the same R replicas, e.g. on members minus on test images.

    counts_a, counts_b: (R,) images right of n_a and n_b. Replicas are resampled as pairs and binomial counts
    redrawn on both sides; in envelope with Newcombe's interval at the mean counts, for the reasons given in
    `replicated_rate` and so that rates of 0 and 1 keep a width. Raises ValueError for counts outside [0, n].
    """
    a, b = _Rates.of(counts_a, n_a, "counts_a"), _Rates.of(counts_b, n_b, "counts_b")
    if len(a.p) != len(b.p):
        raise ValueError(f"counts_a has {len(a.p)} replicas and counts_b {len(b.p)}; allowed: the same replicas")
    chosen, rng = _replica_draws(len(a.p), seed, num_resamples)
    low, high = _percentiles(a.redraw(chosen, rng) - b.redraw(chosen, rng), level)
    mean_a, mean_b = float(a.p.mean()), float(b.p.mean())
    score = newcombe_difference(mean_a * a.num_images, a.num_images, mean_b * b.num_images, b.num_images, level)
    return envelope(mean_a - mean_b, score.n, (low, high), (score.low, score.high))


class _Rates(NamedTuple):
    p: Floats
    n: Ints

    @classmethod
    def of(cls, counts: npt.ArrayLike, n: int | Sequence[int], name: str) -> "_Rates":
        k = np.asarray(counts, dtype=np.float64)
        assert k.ndim == 1, k.shape
        sizes = np.broadcast_to(np.asarray(n, dtype=np.int64), k.shape)
        if k.size == 0 or sizes.min() < 1 or not ((k >= 0) & (k <= sizes)).all():
            raise ValueError(f"{name} is {k.tolist()} of n = {n}; allowed: at least one replica, 0 to n each, n >= 1")
        return cls(k / sizes, sizes)

    @property
    def num_images(self) -> int:
        """The smallest set of images, so that unequal sets make the interval wider, never shorter."""
        return int(self.n.min())

    def redraw(self, chosen: Ints, rng: np.random.Generator) -> Floats:
        """(num_resamples,) mean rates of the chosen replicas on images drawn anew."""
        draws: Floats = (rng.binomial(self.n[chosen], self.p[chosen]) / self.n[chosen]).mean(axis=1)
        return draws


def _replica_draws(num_replicas: int, seed: int, num_resamples: int) -> tuple[Ints, np.random.Generator]:
    rng = np.random.default_rng(seed)
    return rng.integers(num_replicas, size=(num_resamples, num_replicas)), rng


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


def _common_cells(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Both with NaN in each (replica, class) that either lacks."""
    if a.shape[:2] != b.shape[:2]:
        raise ValueError(f"shapes {a.shape} and {b.shape} do not pair; allowed: equal replicas and classes")
    both = _has_sample(a) & _has_sample(b)
    if not both.any():
        raise ValueError("the two regimes share no (replica, class); allowed: at least one")
    return np.where(both[:, :, None], a, np.nan), np.where(both[:, :, None], b, np.nan)


def _has_sample(cells: Floats) -> npt.NDArray[np.bool_]:
    """(R, C): the class has a sample in this replica."""
    present: npt.NDArray[np.bool_] = np.any(~np.isnan(cells), axis=2)
    return present


def _resampled_means(arrays: list[Floats], seed: int, num_resamples: int) -> Iterator[list[Floats]]:
    """Chunks of resampled means, one (chunk,) array for each of `arrays`, which have the same cells."""
    rng = np.random.default_rng(seed)
    has_class = _has_sample(arrays[0])
    has_any = has_class.any(axis=1)
    num_classes = has_class.sum(axis=1)[has_any]
    order = np.argsort(~has_class[has_any], axis=1, kind="stable")  # classes with samples first
    packed = [_pack(np.take_along_axis(a[has_any], order[:, :, None], axis=1)) for a in arrays]
    R, C = order.shape
    chunk = max(1, _CHUNK // (R * C * max(a.shape[2] for a in arrays)))
    for start in range(0, num_resamples, chunk):
        size = min(chunk, num_resamples - start)
        replica = rng.integers(R, size=(size, R))[:, :, None]
        available = num_classes[replica]
        drawn = np.arange(C) < available
        class_ = (rng.random((size, R, C)) * available).astype(np.int64)
        yield [_draw_samples(values, sizes, replica, class_, drawn, rng) for values, sizes in packed]


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
