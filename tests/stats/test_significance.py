import itertools

import numpy as np
import pytest
from scipy.stats import binomtest, false_discovery_control

from benchmark.stats import holm, swap_test


def test_swap_test_of_clean_clusters_is_the_sign_test() -> None:
    """Eight (replica, class) clusters all won: 2 of 2^8 swaps are as extreme."""
    assert swap_test(np.ones((2, 4, 5)), seed=0) == 2 / 2**8


def test_swap_test_equals_brute_force() -> None:
    values = np.array([[[1, 1, 0], [1, 0.5, 1]], [[0, 1, 1], [1, 1, np.nan]]])
    sums = np.nansum(values - 0.5, axis=2).ravel()
    totals = [abs(np.dot(signs, sums)) for signs in itertools.product((-1, 1), repeat=4)]
    assert swap_test(values, seed=0) == np.mean([t >= abs(sums.sum()) for t in totals])


def test_swap_test_by_sampling_agrees_with_the_binomial() -> None:
    """Twenty clusters of one sample, 15 won: the sign test by enumeration is a binomial test."""
    values = np.r_[np.ones(15), np.zeros(5)].reshape(2, 10, 1)
    assert swap_test(values, seed=0) == pytest.approx(binomtest(15, 20).pvalue, abs=0.006)


def test_swap_test_sampled_is_seeded_and_never_zero() -> None:
    certain = np.ones((4, 10, 3))
    assert swap_test(certain, seed=0, num_draws=999) == 1 / 1000
    noisy = np.random.default_rng(0).integers(0, 2, (2, 10, 5)).astype(float)
    assert swap_test(noisy, seed=1) == swap_test(noisy, seed=1) != swap_test(noisy, seed=2)


def test_swap_test_of_ties_says_nothing() -> None:
    assert swap_test(np.full((2, 10, 3), 0.5), seed=0) == 1.0
    with pytest.raises(ValueError, match="no sample"):
        swap_test(np.full((1, 1, 1), np.nan), seed=0)


def rejections(with_clusters: bool) -> float:
    """Share of null data sets rejected at 0.05, where the 40 samples of a replica point at 5 images."""
    rejected = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        nearest = rng.integers(0, 5, (2, 10, 4)) + np.array([0, 5])[:, None, None]
        values = rng.integers(0, 2, 10)[nearest].astype(float)
        rejected.append(swap_test(values, seed, nearest if with_clusters else None, num_draws=499) <= 0.05)
    return float(np.mean(rejected))


def test_swap_test_holds_its_level_when_clustered_by_nearest_image() -> None:
    assert rejections(with_clusters=True) <= 0.09
    assert rejections(with_clusters=False) >= 0.2  # what the clusters are for


def test_swap_test_finds_a_difference() -> None:
    won = np.random.default_rng(0).random((2, 10, 10)) < 0.8
    assert swap_test(won.astype(float), seed=0) < 0.001


def test_holm_by_hand() -> None:
    """Four tests: 0.005 * 4, 0.01 * 3, then 0.03 * 2 holds up 0.04 * 1."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.7, 0.6]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []


def test_holm_is_no_laxer_than_benjamini_hochberg_and_no_stricter_than_bonferroni() -> None:
    p = np.random.default_rng(0).random(30) ** 3
    adjusted = holm(p)
    assert (adjusted >= false_discovery_control(p) - 1e-12).all()
    assert (adjusted <= np.minimum(p * 30, 1)).all()


@pytest.mark.parametrize("bad", [[-0.1], [1.1], [np.nan]])
def test_holm_refuses(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="0 to 1"):
        holm(bad)
