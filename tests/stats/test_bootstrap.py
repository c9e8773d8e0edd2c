import itertools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from benchmark.stats import (
    Interval,
    clopper_pearson,
    hierarchical_bootstrap,
    newcombe_difference,
    paired_difference,
    paired_rate_difference,
    rate_interval,
    replicated_difference,
    replicated_rate,
)

nan = np.nan


def coverage(draw: Callable[[int], Interval], truth: float, trials: int) -> float:
    intervals = [draw(seed) for seed in range(trials)]
    return float(np.mean([i.low <= truth <= i.high for i in intervals]))


def enumerated(cells: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean of every equally likely nested resample of a full (R, C, S) array."""
    R, C, S = cells.shape
    class_means = {
        (r, c): [np.mean(s) for s in itertools.product(cells[r, c], repeat=S)] for r in range(R) for c in range(C)
    }
    replica_means = {
        r: [np.mean(m) for cs in itertools.product(range(C), repeat=C) for m in
            itertools.product(*(class_means[r, c] for c in cs))]
        for r in range(R)
    }  # fmt: skip
    return np.array(
        [np.mean(m) for rs in itertools.product(range(R), repeat=R) for m in
         itertools.product(*(replica_means[r] for r in rs))]
    )  # fmt: skip


@pytest.mark.parametrize("level", [0.5, 0.8, 0.95])
def test_hierarchical_bootstrap_equals_enumeration(level: float) -> None:
    cells = np.array([[[0.0, 1.0], [3.0, 7.0]], [[2.0, 2.5], [10.0, 11.0]]])
    low, high = np.quantile(enumerated(cells), [(1 - level) / 2, (1 + level) / 2])
    interval = hierarchical_bootstrap(cells, seed=0, num_resamples=40_000, level=level)
    assert (interval.value, interval.n) == (cells.mean(), 8)
    assert interval[1:3] == pytest.approx((low, high), abs=0.13)  # means come in steps of 1/16


def test_hierarchical_bootstrap_ignores_where_absent_cells_lie() -> None:
    full = np.random.default_rng(0).random((2, 3, 4))
    padded = np.full((3, 4, 6), nan)
    padded[np.ix_([0, 2], [0, 1, 3], [0, 2, 3, 5])] = full
    a, b = (hierarchical_bootstrap(v, seed=1, num_resamples=20_000) for v in (full, padded))
    assert (a.value, a.n) == (pytest.approx(b.value), b.n)
    assert a[1:3] == pytest.approx(b[1:3], abs=0.01)


def test_hierarchical_bootstrap_never_invents_a_value() -> None:
    """One class has one sample: no resample may read the padding beside it."""
    ragged = np.array([[[5.0, nan, nan], [7.0, 7.0, 7.0]], [[nan, nan, nan], [6.0, nan, nan]]])
    interval = hierarchical_bootstrap(ragged, seed=0, level=0.999)
    assert interval.value == pytest.approx(32 / 5)
    assert (interval.low, interval.high) == (5.0, 7.0)


def test_hierarchical_bootstrap_sees_replicas() -> None:
    """Ten thousand samples do not make up for two replicas that disagree."""
    cells = np.random.default_rng(0).random((2, 10, 500)) * 0.01 + np.array([0.2, 0.8])[:, None, None]
    interval = hierarchical_bootstrap(cells, seed=0)
    assert interval.low < 0.21
    assert interval.high > 0.79


def test_hierarchical_bootstrap_is_seeded_and_chunks_cover_all_resamples() -> None:
    cells = np.random.default_rng(0).random((4, 50, 40))  # 8,000 values: chunks of 250 resamples
    a, b, c = (hierarchical_bootstrap(cells, seed, num_resamples=600) for seed in (0, 0, 1))
    assert a == b != c
    spread = cells.mean(axis=2).std() / np.sqrt(200)
    assert a.high - a.low == pytest.approx(4 * spread, rel=1.0)


@pytest.mark.parametrize("bad", [np.full((1, 2, 3), nan), np.empty((0, 2, 3))])
def test_no_sample_is_an_error(bad: npt.NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="holds no sample"):
        hierarchical_bootstrap(bad, seed=0)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_rate_interval_of_equal_indicators_is_clopper_pearson(value: float) -> None:
    assert rate_interval(np.full((2, 5, 2), value), seed=0) == clopper_pearson(20 * value, 20)


def test_rate_interval_counts_ties_as_halves_and_refuses_other_scales() -> None:
    assert rate_interval(np.array([[[0.5, 1.0, nan, 0.0]]]), seed=0).value == 0.5
    with pytest.raises(ValueError, match="0 to 1"):
        rate_interval(np.array([[[0.5, 2.0]]]), seed=0)


def test_rate_interval_covers_with_classes_that_differ() -> None:
    def draw(seed: int) -> Interval:
        rng = np.random.default_rng(seed)
        return rate_interval(rng.random((4, 10, 5)) < rng.beta(2, 2, (4, 10, 1)), seed, num_resamples=400)

    assert coverage(draw, 0.5, trials=150) >= 0.93


def test_paired_difference_of_shifted_replicas_has_no_width() -> None:
    """Pairing removes what replicas and classes have in common; unpaired means would spread by 1."""
    base = np.array([0.0, 1.0])[:, None, None] + np.array([0.0, 0.1, 0.4])[None, :, None]
    a, b = np.broadcast_to(base + 0.25, (2, 3, 4)), np.broadcast_to(base, (2, 3, 2))
    interval = paired_difference(a, b, seed=0)
    assert interval[:3] == pytest.approx((0.25, 0.25, 0.25))
    assert interval.n == 36


def test_paired_difference_drops_cells_that_one_side_lacks() -> None:
    a = np.array([[[1.0, 1.0], [nan, nan]], [[3.0, nan], [9.0, 9.0]]])
    b = np.array([[[0.0], [100.0]], [[1.0], [8.0]]])
    interval = paired_difference(a, b, seed=0)
    assert interval.value == pytest.approx((1 + 1 + 3 + 9 + 9) / 5 - (0 + 1 + 8) / 3)
    assert interval.n == 8
    with pytest.raises(ValueError, match="share no"):
        paired_difference(a[:1], np.array([[[nan], [1.0]]]), seed=0)
    with pytest.raises(ValueError, match="do not pair"):
        paired_difference(a, b[:1], seed=0)


def test_paired_rate_difference_keeps_newcombes_width() -> None:
    interval = paired_rate_difference(np.ones((2, 5, 3)), np.zeros((2, 5, 2)), seed=0)
    assert interval == newcombe_difference(30, 30, 0, 20)


def test_replicated_rate_contains_clopper_pearson_of_the_shared_images() -> None:
    interval = replicated_rate([70, 80], 100, seed=0)
    exact = clopper_pearson(75, 100)
    assert (interval.value, interval.n) == (0.75, 100)
    assert interval.low <= exact.low < exact.high <= interval.high
    assert replicated_rate([0, 0], 50, seed=0) == clopper_pearson(0, 50)


def test_replicated_rate_spans_replicas_that_disagree() -> None:
    interval = replicated_rate([100, 900], 1000, seed=0)
    assert interval.low < 0.1
    assert interval.high > 0.9


def test_replicated_rate_covers_when_replicas_share_their_images() -> None:
    """Two replicas that agree on every image are one sample of 100 images, not two."""

    def draw(seed: int) -> Interval:
        right = np.random.default_rng(seed).binomial(100, 0.7)
        return replicated_rate([right, right], 100, seed, num_resamples=400)

    assert coverage(draw, 0.7, trials=300) >= 0.93


def test_replicated_rate_of_unequal_image_sets() -> None:
    interval = replicated_rate([5, 10], [10, 40], seed=0)
    assert (interval.value, interval.n) == (0.375, 10)


def test_replicated_difference_covers_and_never_has_zero_width() -> None:
    def draw(seed: int) -> Interval:
        rng = np.random.default_rng(seed)
        counts_a, counts_b = rng.binomial(300, 0.99, 2), rng.binomial(100, 0.9, 2)
        return replicated_difference(counts_a, 300, counts_b, 100, seed, num_resamples=400)

    assert coverage(draw, 0.09, trials=200) >= 0.93
    certain = replicated_difference([50, 50], 50, [50, 50], 50, seed=0)
    assert certain == newcombe_difference(50, 50, 50, 50)


def test_replicated_difference_is_paired_by_replica() -> None:
    """Accuracies that move together: the gap is 0.1 in each replica, while each side spreads by 0.6."""
    gap = replicated_difference([90_000, 30_000], 100_000, [80_000, 20_000], 100_000, seed=0)
    assert gap.value == pytest.approx(0.1)
    assert gap.low > 0.09
    assert gap.high < 0.11


@pytest.mark.parametrize(("counts", "n"), [([], 5), ([6], 5), ([-1], 5), ([0], 0), ([nan], 5)])
def test_replicated_rate_refuses(counts: list[float], n: int) -> None:
    with pytest.raises(ValueError, match="allowed"):
        replicated_rate(counts, n, seed=0)


def test_replicated_difference_refuses_unpaired_replicas() -> None:
    with pytest.raises(ValueError, match="same replicas"):
        replicated_difference([1, 2], 5, [1], 5, seed=0)
