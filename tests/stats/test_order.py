import numpy as np
import pytest

from benchmark.stats import Interval, pareto_front, tied_ranks


def interval(low: float, high: float) -> Interval:
    return Interval((low + high) / 2, low, high, 10)


def test_tied_ranks_by_hand() -> None:
    apart = [interval(0.1, 0.2), interval(0.5, 0.6), interval(0.3, 0.4)]
    assert tied_ranks(apart, higher_is_better=True) == [3, 1, 2]
    assert tied_ranks(apart, higher_is_better=False) == [1, 3, 2]
    tied = [interval(0.7, 0.9), interval(0.8, 1.0), interval(0.1, 0.2), None, interval(0.2, 0.3)]
    assert tied_ranks(tied, higher_is_better=True) == [1, 1, 3, None, 3]  # ends that touch overlap
    assert tied_ranks([], higher_is_better=True) == []


def test_tied_ranks_where_overlap_is_not_transitive() -> None:
    """The wide one overlaps both; only the lowest has one wholly above it."""
    assert tied_ranks([interval(0, 10), interval(1, 2), interval(3, 4)], higher_is_better=True) == [1, 2, 1]


@pytest.mark.parametrize("higher", [True, False])
def test_equal_ranks_overlap_and_wholly_better_ranks_higher(higher: bool) -> None:
    ends = np.sort(np.random.default_rng(0).random((40, 2)) * [1.0, 0.3], axis=1)
    intervals = [interval(low, high) for low, high in ends]
    ranks = tied_ranks(intervals, higher)
    for a, rank_a in zip(intervals, ranks, strict=True):
        for b, rank_b in zip(intervals, ranks, strict=True):
            assert rank_a is not None and rank_b is not None
            if rank_a == rank_b:
                assert a.low <= b.high and b.low <= a.high
            if a.low > b.high:
                assert (rank_a < rank_b) == higher


def test_pareto_front_by_hand() -> None:
    robust = [0.0, 0.5, 0.7, 0.4, 0.7]
    leak = [0.2, 0.3, 0.9, 0.4, 0.9]
    assert pareto_front(robust, leak).tolist() == [True, True, True, False, True]


def test_pareto_front_equals_brute_force() -> None:
    x, y = np.random.default_rng(0).integers(0, 6, (2, 50)).astype(float)
    points = list(zip(x, y, strict=True))
    expected = [not any(a >= c and b <= d and (a, b) != (c, d) for a, b in points) for c, d in points]
    assert pareto_front(x, y).tolist() == expected


def test_pareto_front_leaves_out_nan() -> None:
    assert pareto_front([np.nan, 0.5, 0.9], [0.0, 0.5, np.nan]).tolist() == [False, True, False]
    assert pareto_front([], []).tolist() == []
