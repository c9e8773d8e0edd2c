"""Rank correlations against scipy, a plain bootstrap, and the closed form of the normal distribution."""

import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from benchmark.stats import rank_correlation


def test_by_hand() -> None:
    first = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    second = [2, 1, 4, 3, 6, 5, 8, 7, 10, 9]  # ten ranks are off by one: 1 - 6 * 10 / (10 * 99)
    found = rank_correlation(first, second)
    assert found is not None and found.value == pytest.approx(1 - 60 / 990) and found.n == 10
    assert found.low < found.value < found.high < 1


def test_ties_and_gaps_are_as_in_scipy() -> None:
    rng = np.random.default_rng(0)
    first = rng.poisson(1.0, 300).astype(float)
    second = first + rng.poisson(2.0, 300)
    first[::7] = np.nan
    found, known = rank_correlation(first, second), ~np.isnan(first)
    assert found is not None and found.n == known.sum()
    assert found.value == pytest.approx(spearmanr(first[known], second[known])[0], abs=1e-12)


def test_order_alone_counts() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=50), rng.normal(size=50)
    assert rank_correlation(first, second) == pytest.approx(rank_correlation(np.exp(first), second**3))
    found, turned = rank_correlation(first, second), rank_correlation(first, -second)
    assert found is not None and turned is not None
    assert (turned.value, turned.low, turned.high) == pytest.approx((-found.value, -found.high, -found.low))


def test_the_error_is_that_of_a_bootstrap() -> None:
    rng = np.random.default_rng(2)
    first = rng.poisson(1.0, 400)
    second = first * rng.normal(1, 2, 400)
    found = rank_correlation(first, second)
    assert found is not None
    draws = rng.integers(0, 400, (300, 400))
    drawn = np.arctanh([spearmanr(first[draw], second[draw])[0] for draw in draws])
    half = (math.atanh(found.high) - math.atanh(found.low)) / 2 / 1.96
    assert half == pytest.approx(drawn.std(), rel=0.15)


@pytest.mark.parametrize("pearson", [0.0, 0.6])
def test_coverage_under_a_normal_distribution(pearson: float) -> None:
    truth = 6 / math.pi * math.asin(pearson / 2)
    rng, covered, runs = np.random.default_rng(3), 0, 500
    for _ in range(runs):
        first, noise = rng.normal(size=(2, 80))
        found = rank_correlation(first, pearson * first + math.sqrt(1 - pearson**2) * noise)
        assert found is not None
        covered += found.low <= truth <= found.high
    assert 0.92 <= covered / runs <= 0.98


def test_one_value_among_ties_proves_nothing() -> None:
    """Its rank among 160 is uniform where it is unrelated: no more than 5% of its places may exclude 0."""
    places = [rank_correlation(np.arange(160) == i, np.arange(160)) for i in range(160)]
    assert np.mean([found is not None and found.low <= 0 <= found.high for found in places]) >= 0.95


def test_copies_are_one_draw() -> None:
    rng = np.random.default_rng(4)
    first, second = rng.normal(size=60), rng.normal(size=60)
    once, number = rank_correlation(first, second), np.repeat(np.arange(60), 4)
    copied = rank_correlation(np.repeat(first, 4), np.repeat(second, 4), number)
    assert once is not None and copied is not None
    assert copied[:3] == pytest.approx(once[:3], abs=1e-12)
    assert rank_correlation(np.repeat(first, 4), np.repeat(second, 4)).low > once.low  # type: ignore[union-attr]


def test_nothing_to_correlate() -> None:
    assert rank_correlation(range(9), range(9)) is None
    assert rank_correlation([1.0] * 20, range(20)) is None
    assert rank_correlation([math.nan] * 20, range(20)) is None
    with pytest.raises(ValueError, match="level is 2"):
        rank_correlation(range(20), range(20), level=2)
