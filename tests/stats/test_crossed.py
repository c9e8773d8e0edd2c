"""Variances of pairs crossed with classes or images, held against simulation and against plain analysis of variance."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from benchmark.stats import (
    Interval,
    clopper_pearson,
    counted_difference,
    counted_rate,
    crossed_mean,
    independent_difference,
    newcombe_difference,
    paired_difference,
    paired_images,
    share_difference,
    share_interval,
)

nan = np.nan
Floats = npt.NDArray[np.float64]


def coverage(draw: Callable[[np.random.Generator], Interval], truth: float, trials: int = 400) -> float:
    intervals = [draw(np.random.default_rng(seed)) for seed in range(trials)]
    return float(np.mean([i.low <= truth <= i.high for i in intervals]))


def test_variance_equals_the_mean_squares_of_a_two_way_table() -> None:
    """3 pairs (of equal replicas), 5 classes: (MS pairs + MS classes - MS rest) / cells."""
    table = np.random.default_rng(0).normal(size=(3, 5)) + 3 * np.arange(3)[:, None] + np.arange(5)
    found = crossed_mean(table.repeat(2, axis=0)[:, :, None])
    rows, columns = table.mean(1), table.mean(0)
    rest = table - rows[:, None] - columns + table.mean()
    squares = [5 * rows.var(ddof=1), 3 * columns.var(ddof=1), (rest**2).sum() / 8]
    assert found.variance()[0] == pytest.approx((squares[0] + squares[1] - squares[2]) / 15)
    assert found.value == pytest.approx(table.mean()) and found.n == 30


def test_complements_cancel_within_a_pair() -> None:
    """What one replica shows too much of, its mate shows too little of: with pairs as units that is no noise."""
    rng = np.random.default_rng(0)
    swing = rng.normal(size=(4, 1, 1))
    values = np.concatenate([0.5 + swing, 0.5 - swing], axis=1).reshape(8, 1, 1) + 0.001 * rng.normal(size=(8, 6, 3))
    assert crossed_mean(values).variance()[0] < 1e-6
    assert crossed_mean(values, pairs=range(8)).variance()[0] > 0.01, "as eight independent replicas"


def test_absent_samples_weigh_nothing_and_invent_nothing() -> None:
    values = np.array([[[5.0, nan], [7.0, 7.0]], [[nan, nan], [6.0, nan]], [[nan, nan], [nan, nan]]])
    found = crossed_mean(values, pairs=[0, 1, 2])
    assert (found.value, found.n, found.cells.shape) == (25 / 4, 4, (2, 2))
    assert found.cells.sum() == pytest.approx(0)
    with pytest.raises(ValueError, match="holds no sample"):
        crossed_mean(np.full((1, 2, 3), nan))


def test_of_a_single_pair_only_what_the_cut_does_not_explain_is_between_trainings() -> None:
    values = np.array([0.9, 0.1])[:, None, None] + np.zeros((2, 10, 4))
    wide, explained = crossed_mean(values), crossed_mean(values, of_cut=0.1)
    assert wide.variance()[0] == pytest.approx(0.16) and explained.variance()[0] == pytest.approx(0)
    assert crossed_mean(values, of_cut=0.01).variance()[0] == pytest.approx(0.15)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_equal_indicators_keep_a_width(value: float) -> None:
    assert share_interval(np.full((4, 5, 2), value)) == clopper_pearson(40 * value, 40)
    with pytest.raises(ValueError, match="0 to 1"):
        share_interval(np.array([[[0.5, 2.0]]]))


@pytest.mark.parametrize("replicas", [2, 4, 8])
def test_shares_cover_with_pairs_that_differ_and_classes_in_common(replicas: int) -> None:
    def draw(rng: np.random.Generator) -> Interval:
        classes, trained = rng.normal(0, 0.1, (1, 10, 1)), rng.normal(0, 0.05, (replicas, 1, 1))
        cut = rng.normal(0, 0.1, (replicas // 2, 10, 1)).repeat(2, axis=0) * np.resize([1, -1], replicas)[:, None, None]
        return share_interval(rng.random((replicas, 10, 8)) < 0.5 + classes + trained + cut)

    assert coverage(draw, 0.5) >= 0.93


def test_paired_images_see_through_what_images_have_in_common() -> None:
    """A gap of 0.02 on images of which half are easy: paired, its error is that of the images that change."""
    rng = np.random.default_rng(0)
    change = [(rng.random(2000) < 0.03).astype(float) - (rng.random(2000) < 0.01) for _ in range(3)]
    found = paired_images(change, [np.arange(2000)] * 3).interval()
    assert found.low < 0.02 < found.high and found.high - found.low < 0.025
    alone = paired_images(change[:1], [np.arange(2000)])
    assert alone.variance()[0] == pytest.approx(change[0].var(ddof=1) / 2000)
    shared = paired_images([change[0]] * 3, [np.arange(2000)] * 3)
    assert shared.variance()[0] == pytest.approx(alone.variance()[0]), "thrice the same is no more"


def test_counted_rate_by_hand() -> None:
    """Images that all replicas share count once; pairs that agree leave the binomial variance alone."""
    found = counted_rate([70, 80, 80, 70], 100)
    half = 1.959964 * np.sqrt(0.75 * 0.25 / 100)
    exact = clopper_pearson(75, 100)
    assert found[1:3] == pytest.approx((min(0.75 - half, exact.low), max(0.75 + half, exact.high)))
    assert counted_rate([0, 0], 50) == clopper_pearson(0, 50)
    assert counted_rate([5, 10], [10, 40]).n == 10
    assert counted_rate([100, 100, 900, 900], 1000).low < 0.1


def test_counted_rate_covers_when_replicas_share_their_images() -> None:
    assert coverage(lambda rng: counted_rate([int(rng.binomial(100, 0.7))] * 2, 100), 0.7) >= 0.93


def test_counted_difference_covers_and_never_has_zero_width() -> None:
    def draw(rng: np.random.Generator) -> Interval:
        return counted_difference(rng.binomial(300, 0.99, 2), 300, rng.binomial(100, 0.9, 2), 100)

    assert coverage(draw, 0.09) >= 0.93
    assert counted_difference([50, 50], 50, [50, 50], 50) == newcombe_difference(50, 50, 50, 50)
    with pytest.raises(ValueError, match="same replicas"):
        counted_difference([1, 2], 5, [1], 5)


@pytest.mark.parametrize(("counts", "n"), [([], 5), ([6], 5), ([-1], 5), ([0], 0), ([nan], 5)])
def test_counted_rate_refuses(counts: list[float], n: int) -> None:
    with pytest.raises(ValueError, match="allowed"):
        counted_rate(counts, n)


def test_a_paired_difference_of_shifted_models_is_certain_where_theirs_are_not() -> None:
    base = np.random.default_rng(0).normal(size=(4, 6, 1)) * 5 + np.random.default_rng(1).normal(size=(4, 6, 3))
    one, other = crossed_mean(base + 0.25 + 1e-6 * np.arange(3)), crossed_mean(base)
    found = paired_difference(one, other)
    assert found[:3] == pytest.approx((0.25, 0.25, 0.25), abs=1e-4) and found.p_value < 1e-6
    assert independent_difference(one.interval(), other.interval()).p_value > 0.5
    with pytest.raises(ValueError, match="do not pair"):
        paired_difference(one, crossed_mean(base[:, :2]))


def test_a_share_difference_keeps_newcombes_width() -> None:
    found = share_difference(crossed_mean(np.ones((2, 5, 3))), crossed_mean(np.zeros((2, 5, 2))))
    assert found[:3] == newcombe_difference(30, 30, 0, 20)[:3] and 0 < found.p_value < 0.001
    same = share_difference(crossed_mean(np.ones((2, 5, 3))), crossed_mean(np.ones((2, 5, 3))))
    assert same.p_value == 1.0 and same.low < 0 < same.high


def test_p_values_of_equal_models_are_small_no_more_often_than_they_say() -> None:
    rng = np.random.default_rng(0)
    p_values = []
    for _ in range(400):
        classes = rng.normal(0, 0.15, (1, 10, 1))
        one, other = (crossed_mean((rng.random((8, 10, 8)) < 0.5 + classes).astype(float)) for _ in range(2))
        p_values.append(share_difference(one, other).p_value)
    assert np.mean(np.array(p_values) <= 0.05) <= 0.08
