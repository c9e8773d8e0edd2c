import numpy as np
import pytest
from scipy.stats import binomtest

from benchmark.stats import Interval, clopper_pearson, newcombe_difference


@pytest.mark.parametrize(("k", "n"), [(0, 10), (10, 10), (3, 10), (1, 1), (0, 1), (437, 500)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_clopper_pearson_equals_scipy(k: int, n: int, level: float) -> None:
    expected = binomtest(k, n).proportion_ci(level, method="exact")
    interval = clopper_pearson(k, n, level)
    assert interval == pytest.approx((k / n, expected.low, expected.high, n), abs=1e-12)


def test_clopper_pearson_of_no_success_in_closed_form() -> None:
    assert clopper_pearson(0, 20) == pytest.approx((0.0, 0.0, 1 - 0.025 ** (1 / 20), 20))


def test_clopper_pearson_of_fractional_counts_lies_between_whole_ones() -> None:
    below, between, above = (clopper_pearson(k, 10) for k in (3, 3.5, 4))
    assert below.low < between.low < above.low
    assert below.high < between.high < above.high
    assert between.value == 0.35


def test_clopper_pearson_covers() -> None:
    counts = np.random.default_rng(0).binomial(30, 0.9, 2000)
    covered = {k: clopper_pearson(k, 30).low <= 0.9 <= clopper_pearson(k, 30).high for k in range(31)}
    assert np.mean([covered[k] for k in counts]) >= 0.94


@pytest.mark.parametrize(("k", "n", "level"), [(0, 0, 0.95), (-1, 5, 0.95), (6, 5, 0.95), (1, 5, 1.0), (1, 5, 0.0)])
def test_clopper_pearson_refuses(k: float, n: int, level: float) -> None:
    with pytest.raises(ValueError, match="allowed"):
        clopper_pearson(k, n, level)


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        ((56, 70, 48, 80), 0.0524, 0.3339),
        ((9, 10, 3, 10), 0.1705, 0.8090),
        ((5, 56, 0, 29), -0.0381, 0.1926),
        ((10, 10, 0, 10), 0.6075, 1.0),
    ],
)
def test_newcombe_equals_the_published_table(counts: tuple[int, int, int, int], low: float, high: float) -> None:
    interval = newcombe_difference(*counts)
    assert interval.low == pytest.approx(low, abs=5e-5)
    assert interval.high == pytest.approx(high, abs=5e-5)


def test_newcombe_is_antisymmetric_and_has_width_at_the_ends() -> None:
    there, back = newcombe_difference(7, 9, 2, 12), newcombe_difference(2, 12, 7, 9)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    equal = newcombe_difference(50, 50, 50, 50)
    assert equal == Interval(0.0, pytest.approx(-0.0713, abs=1e-4), pytest.approx(0.0713, abs=1e-4), 100)
