"""Medians: the ends by hand and by brute force, coverage, and what several replicas give."""

import math

import numpy as np
import pytest
from scipy.stats import binom

from benchmark.stats import Interval, mean_of_medians, median_interval


def test_the_ends_of_nine_values() -> None:
    """P(at most 1 of 9 heads) is 10 / 512 = 0.0195 and of at most 2 is 0.0898: the second smallest and largest."""
    found = median_interval([9, 1, 8, 2, 7, 3, 6, 4, 5])
    assert found == Interval(5, 2, 8, 9)


@pytest.mark.parametrize("n", [6, 10, 33, 200])
def test_the_ends_leave_95_percent_inside_and_no_narrower_ones_do(n: int) -> None:
    found = median_interval(np.arange(n))
    k = int(found.low) + 1
    assert 1 - 2 * binom.cdf(k - 1, n, 0.5) >= 0.95 > 1 - 2 * binom.cdf(k, n, 0.5)
    assert found.high == n - k and found.value == (n - 1) / 2


def test_few_values_span_all_and_half_infinite_is_infinite() -> None:
    assert median_interval([3.0]) == Interval(3, 3, 3, 1)
    assert median_interval([1.0, math.inf, math.inf]).value == math.inf
    assert median_interval([1.0, 2.0, 3.0, math.inf]) == Interval(2.5, 1, math.inf, 4)


def test_it_covers() -> None:
    draws = np.random.default_rng(0).exponential(size=(2000, 50))
    found = [median_interval(draw) for draw in draws]
    assert 0.94 < np.mean([each.low <= math.log(2) <= each.high for each in found]) < 0.985


def test_equal_replicas_keep_the_images_interval_and_unequal_ones_widen_it() -> None:
    one = Interval(1.0, 0.9, 1.1, 100)
    assert mean_of_medians([one, one], [0, 0]) == pytest.approx(one)
    apart = mean_of_medians([one, Interval(1.4, 1.3, 1.5, 100)], [0, 1])
    assert apart.value == pytest.approx(1.2) and apart.high > 1.6 and apart.low < 0.8


def test_what_is_refused() -> None:
    for values in ([], [1.0, math.nan]):
        with pytest.raises(ValueError, match="at least 1, none NaN"):
            median_interval(values)
    with pytest.raises(ValueError, match="no median"):
        mean_of_medians([], [])
