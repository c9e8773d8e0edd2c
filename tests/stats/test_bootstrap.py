import itertools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from benchmark.stats import (
    Interval,
    clopper_pearson,
    hierarchical_bootstrap,
    rate_interval,
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
