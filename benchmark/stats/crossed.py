"""Means over pairs of trained models crossed with classes, or with images: their variance, intervals and differences.

Replicas 2j and 2j + 1 are a pair: they train on complementary halves, so what one shows too much of, the other shows
too little of. The pair is the unit. Classes and images are the same in every pair, so their effects do not average out
over pairs. Both are in the variance, each with its own degrees of freedom.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

from benchmark.stats.intervals import Interval, check_level, clopper_pearson, envelope, newcombe_difference

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


LEAST_FREEDOM = 3.0
"""Degrees of freedom that a variance is taken to have at least. Two units give it one, whose t quantile of 12.7 makes
intervals that say nothing; three (3.2) cost a percent or two of coverage (perf/coverage.py)."""


class Crossed(NamedTuple):
    """A mean, and what each cell of units crossed with groups adds to its deviation from the truth.

    cells: (U, G) float64 that sum to 0. unit_names (U,), group_names (G,): so that two models can be compared cell by
    cell. n: units (images, reconstructions) behind the value. beside: variance between units that cells do not show, of
    one degree of freedom.
    """

    value: float
    cells: Floats
    unit_names: Ints
    group_names: Ints
    n: int
    beside: float = 0.0

    def variance(self) -> tuple[float, float]:
        """Variance of the mean, and its degrees of freedom (Satterthwaite 1946).

        Two-way random effects: variance of unit means + variance of group means - what is in both (their
        interaction), and never below either. One unit: it has no variance between units, and says nothing of others.
        """
        units, groups = self.cells.shape
        between_groups = _corrected(groups) * float(np.square(self.cells.sum(0)).sum())
        if units == 1:
            variance, shares = between_groups + self.beside, between_groups**2 / max(groups - 1, 1) + self.beside**2
            return variance, max(variance**2 / shares, LEAST_FREEDOM) if shares > 0 else math.inf
        between_units = _corrected(units) * float(np.square(self.cells.sum(1)).sum())
        rest = self.cells - self.cells.mean(0) - self.cells.mean(1)[:, None] + self.cells.mean()
        both = _corrected(units) * _corrected(groups) * float(np.square(rest).sum())
        variance = max(between_units + between_groups - both, between_units, between_groups)
        shares = between_units**2 / (units - 1) + between_groups**2 / max(groups - 1, 1)
        return variance, max(variance**2 / shares, LEAST_FREEDOM) if shares > 0 else math.inf

    def interval(self, level: float = 0.95) -> Interval:
        """Student's t interval of the mean."""
        check_level(level)
        variance, freedom = self.variance()
        half = t_quantile(freedom, level) * math.sqrt(variance)
        return Interval(self.value, self.value - half, self.value + half, self.n)

    def p_value(self) -> float:
        """Two-sided p-value of a mean different from 0."""
        variance, freedom = self.variance()
        if variance == 0:
            return float(self.value == 0)
        return float(2 * stdtr(min(freedom, 1e9), -abs(self.value) / math.sqrt(variance)))

    def minus(self, other: "Crossed") -> "Crossed":
        """The difference, cell by cell: what both have in common leaves it.

        Raises ValueError where the two have other units or groups.
        """
        same = np.array_equal(self.unit_names, other.unit_names) and np.array_equal(self.group_names, other.group_names)
        if not same:
            raise ValueError(f"cells {self.cells.shape} and {other.cells.shape} do not pair; allowed: equal ones")
        cells = self.cells - other.cells
        beside = self.beside + other.beside
        return Crossed(self.value - other.value, cells, self.unit_names, self.group_names, self.n + other.n, beside)


def crossed_mean(values: npt.ArrayLike, pairs: Sequence[int] | None = None, of_cut: float | None = None) -> Crossed:
    """Mean over pairs of replicas crossed with classes; every present sample weighs the same.

    values: (R replicas, C classes, S samples), NaN where a sample is absent. pairs: (R,) the pair of each replica;
    default: r // 2. With one pair its two replicas are the units instead, as if they were independent: complements
    differ more than independent replicas do, so that the interval is then too wide rather than too short.
    of_cut: the variance of half the difference between the two replicas of a single pair that its cut alone makes.
    Where that is known the pair is the unit, and their difference counts as one between trainings only where it is more
    than 95% of cuts make.
    Raises ValueError if no sample is present.
    """
    samples = np.asarray(values, dtype=np.float64)
    assert samples.ndim == 3, f"values have shape {samples.shape}; expected (replicas, classes, samples)"
    present = ~np.isnan(samples)
    n = int(present.sum())
    if n == 0:
        raise ValueError(f"values of shape {samples.shape} holds no sample; allowed: at least one that is not NaN")
    mean = float(samples[present].mean())
    deviations = np.where(present, samples - mean, 0.0).sum(axis=2) / n
    kept, classes = present.any(axis=(1, 2)), np.flatnonzero(present.any(axis=(0, 2)))
    names, beside = _units(pairs, len(samples))[kept], 0.0
    if of_cut is not None and len(names) == 2 and len(set(names)) == 1:
        one, other = (float(samples[replica][present[replica]].mean()) for replica in np.flatnonzero(kept))
        half = ((one - other) / 2) ** 2
        beside = half - of_cut if half > of_cut * t_quantile(math.inf, 0.95) ** 2 else 0.0
    elif len(set(names)) == 1:
        names = np.flatnonzero(kept)
    unit_names, unit = np.unique(names, return_inverse=True)
    cells = np.zeros((len(unit_names), len(classes)))
    np.add.at(cells, unit, deviations[kept][:, classes])
    return Crossed(mean, cells, unit_names, classes, n, beside)


def mean_interval(values: npt.ArrayLike, pairs: Sequence[int] | None = None, of_cut: float | None = None) -> Interval:
    """`crossed_mean` with its 95% interval."""
    return crossed_mean(values, pairs, of_cut).interval()


def share_interval(
    values: npt.ArrayLike, pairs: Sequence[int] | None = None, level: float = 0.95, of_cut: float | None = None
) -> Interval:
    """`mean_interval` of indicators (0, 0.5 for a tie, 1), within [0, 1] and never without width.

    In envelope with Clopper and Pearson's interval over all samples: where every indicator is equal, nothing varies,
    and certainty would be claimed from a handful of samples. Raises ValueError for values outside [0, 1].
    """
    samples = np.asarray(values, dtype=np.float64)
    if (samples < 0).any() or (samples > 1).any():
        raise ValueError(f"values span {np.nanmin(samples)} to {np.nanmax(samples)}; allowed: 0 to 1")
    found = crossed_mean(samples, pairs, of_cut).interval(level)
    exact = clopper_pearson(found.value * found.n, found.n, level)
    return envelope(found.value, found.n, (max(found.low, 0.0), min(found.high, 1.0)), (exact.low, exact.high))


def paired_images(
    values: Sequence[npt.ArrayLike], images: Sequence[npt.ArrayLike], pairs: Sequence[int] | None = None
) -> Crossed:
    """Mean over pairs crossed with images, of one number an image and pair.

    values: for each of J pairs (N_j,). images: for each pair (N_j,) int64 names; images with equal names (one image
    under several pairs, near-duplicates) are one group. pairs: (J,) names; default: 0, 1, ... Every pair weighs the
    same. Raises ValueError if there is no pair, or one without an image.
    """
    parts = [np.asarray(part, dtype=np.float64) for part in values]
    if not parts or min(map(len, parts)) == 0:
        raise ValueError(f"{len(parts)} pairs with {[len(p) for p in parts]} images; allowed: at least one of each")
    means = np.array([part.mean() for part in parts])
    shares = [(part - mean) / len(part) for part, mean in zip(parts, means, strict=True)]
    names = np.arange(len(parts)) if pairs is None else np.asarray(pairs, dtype=np.int64)
    return image_cells(means, shares, [np.asarray(part) for part in images], names, min(map(len, parts)))


def image_cells(
    means: Floats, influences: Sequence[Floats], images: Sequence[npt.NDArray[np.int64]], pairs: Ints, n: int
) -> Crossed:
    """The mean of `means` (J,), one a pair. influences: for each pair (N_j,) what each image adds, in all 0.

    images: for each pair (N_j,) names. pairs: (J,) names. n: images behind the value.
    """
    group_names, group = np.unique(np.concatenate(images), return_inverse=True)
    cells = np.zeros((len(means), len(group_names)))
    start = 0
    for row, part in zip(cells, influences, strict=True):
        row += np.bincount(group[start : start + len(part)], weights=part, minlength=len(group_names))
        start += len(part)
    cells += ((means - means.mean()) / len(group_names))[:, None]
    return Crossed(float(means.mean()), cells / len(means), pairs, group_names.astype(np.int64), n)


def counted_rate(
    counts: npt.ArrayLike, n: int | Sequence[int], pairs: Sequence[int] | None = None, level: float = 0.95
) -> Interval:
    """Mean accuracy of R replicas that were judged on the same n images.

    counts: (R,) images right, fractional where ties count half. n: images, or one number a replica.
    The variance is that of one draw of n images, which does not shrink with replicas since they share them, plus that
    between pairs (between the replicas of a single pair). In envelope with Clopper and Pearson's interval at the mean
    count, so that rates of 0 and 1 keep a width. Raises ValueError for counts outside [0, n].
    """
    rates, size = _rates(counts, n, "counts")
    value = float(rates.mean())
    low, high = _with_images(value, value * (1 - value) / size, rates, pairs, level)
    exact = clopper_pearson(value * size, size, level)
    return envelope(value, size, (max(low, 0.0), min(high, 1.0)), (exact.low, exact.high))


def counted_difference(
    counts_a: npt.ArrayLike,
    n_a: int | Sequence[int],
    counts_b: npt.ArrayLike,
    n_b: int | Sequence[int],
    pairs: Sequence[int] | None = None,
    level: float = 0.95,
) -> Interval:
    """Mean difference of two accuracies of the same R replicas, e.g. on members minus on test images.

    As `counted_rate`, with the variance of both draws of images, and in envelope with Newcombe's interval at the mean
    counts. Raises ValueError for counts outside [0, n], or of unequal numbers of replicas.
    """
    (a, size_a), (b, size_b) = _rates(counts_a, n_a, "counts_a"), _rates(counts_b, n_b, "counts_b")
    if len(a) != len(b):
        raise ValueError(f"counts_a has {len(a)} replicas and counts_b {len(b)}; allowed: the same replicas")
    p, q = float(a.mean()), float(b.mean())
    low, high = _with_images(p - q, p * (1 - p) / size_a + q * (1 - q) / size_b, a - b, pairs, level)
    score = newcombe_difference(p * size_a, size_a, q * size_b, size_b, level)
    return envelope(p - q, score.n, (max(low, -1.0), min(high, 1.0)), (score.low, score.high))


def _with_images(
    value: float, of_images: float, rates: Floats, pairs: Sequence[int] | None, level: float
) -> tuple[float, float]:
    """Ends of the t interval: variance `of_images` (known well) plus that between the units of `rates` (R,)."""
    check_level(level)
    between, units = unit_variance(rates, pairs)
    total = of_images + between
    half = t_quantile(freedom_of(total, between, units), level) * math.sqrt(total)
    return value - half, value + half


def freedom_of(total: float, between: float, units: int) -> float:
    """Degrees of freedom of a variance of which the part `between` comes from so many units, the rest being known."""
    return max(total**2 * (units - 1) / between**2, LEAST_FREEDOM) if between > 0 else math.inf


def unit_variance(values: npt.ArrayLike, pairs: Sequence[int] | None = None) -> tuple[float, int]:
    """(variance of the mean, units): units are pairs, or the replicas of a single pair. values: (R,), one a replica."""
    numbers = np.asarray(values, dtype=np.float64)
    names = _units(pairs, len(numbers))
    if len(set(names)) > 1:
        numbers = np.array([numbers[names == name].mean() for name in np.unique(names)])
    units = len(numbers)
    return (float(numbers.var(ddof=1)) / units if units > 1 else 0.0), units


def _rates(counts: npt.ArrayLike, n: int | Sequence[int], name: str) -> tuple[Floats, int]:
    """(R,) rates, and the smallest number of images: unequal sets make an interval wider, never shorter."""
    k = np.asarray(counts, dtype=np.float64)
    assert k.ndim == 1, k.shape
    sizes = np.broadcast_to(np.asarray(n, dtype=np.int64), k.shape)
    if k.size == 0 or sizes.min() < 1 or not ((k >= 0) & (k <= sizes)).all():
        raise ValueError(f"{name} is {k.tolist()} of n = {n}; allowed: at least one replica, 0 to n each, n >= 1")
    return k / sizes, int(sizes.min())


def _units(pairs: Sequence[int] | None, replicas: int) -> Ints:
    names = np.arange(replicas) // 2 if pairs is None else np.asarray(pairs, dtype=np.int64)
    assert names.shape == (replicas,), (names.shape, replicas)
    return names


def _corrected(units: int) -> float:
    """What a sum of squares about a mean is too small by."""
    return units / (units - 1) if units > 1 else 1.0


def t_quantile(freedom: float, level: float) -> float:
    """Half width of a two-sided t interval in standard errors."""
    return float(stdtrit(min(freedom, 1e9), (1 + level) / 2))
