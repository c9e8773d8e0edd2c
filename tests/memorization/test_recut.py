"""Cuts that were as likely, and what the same reconstructions and scores look like under them."""

import itertools

import numpy as np
import pytest
from scipy.stats import hypergeom

from benchmark.memorization import recut
from benchmark.memorization.recut import Cut, Null
from benchmark.memorization.train_specificity import TIE
from benchmark.stats import auc


def halves(per_class: int, classes: int = 2, groups: np.ndarray | None = None) -> Cut:
    """2 per_class images of each class, the even ones on the first side."""
    n = 2 * per_class * classes
    images = np.arange(n) * 3 + 5
    return Cut(
        images, np.arange(n) // (2 * per_class), np.arange(n) if groups is None else groups, np.arange(n) % 2 == 0
    )


def test_every_class_keeps_its_number_and_every_cut_is_as_likely() -> None:
    cut = halves(2)
    drawn = recut.recuts(cut, 40_000, np.random.default_rng(0))
    assert (drawn[:, :4].sum(1) == 2).all() and (drawn[:, 4:].sum(1) == 2).all()
    codes, counts = np.unique(drawn @ (1 << np.arange(8)), return_counts=True)
    assert len(codes) == 6 * 6 and counts.min() > 0.85 * 40_000 / 36 and counts.max() < 1.15 * 40_000 / 36


def test_near_duplicates_stay_together_and_are_exchanged_for_their_like() -> None:
    # Groups {0, 2} and {1, 3} of class 0 on either side; {4, 6} of class 1 has no like, and moves with the coin alone.
    group = np.array([0, 1, 0, 1, 2, 3, 2, 4])
    drawn = recut.recuts(halves(2, groups=group), 500, np.random.default_rng(0))
    assert (
        (drawn[:, 0] == drawn[:, 2]).all() and (drawn[:, 1] == drawn[:, 3]).all() and (drawn[:, 0] != drawn[:, 1]).all()
    )
    assert (drawn[:, 4] == drawn[:, 6]).all() and (drawn[:, 4] != drawn[:, 5]).all()
    assert 0.4 < drawn[:, 4].mean() < 0.6 and 0.4 < (drawn[:, 0] == drawn[:, 4]).mean() < 0.6


@pytest.mark.parametrize("k", [3, 12])
def test_merged_lists_give_what_all_cosines_give(k: int) -> None:
    """Brute force over every image, against the k nearest of either side that a trial keeps."""
    rng = np.random.default_rng(1)
    cut = halves(6)
    cosines = rng.random((30, len(cut.images))).round(2).astype(np.float32)  # with ties
    sides = []
    for side in (cut.first, ~cut.first):
        ids = cut.images[side]
        order = np.argsort(-cosines[:, side], axis=1, kind="stable")[:, :k]
        sides.append((ids[order], np.take_along_axis(cosines[:, side], order, axis=1)))
    nearest = recut.merged(cut, *sides)
    inside = np.vstack([cut.first, recut.recuts(cut, 300, rng)])
    s_in = np.where(inside[:, None], cosines, -2).max(2).astype(float)
    s_out = np.where(inside[:, None], -2, cosines).max(2).astype(float)
    expected = s_in - s_out
    found = recut.gaps(nearest, inside)
    assert np.array_equal(found[0], expected[0])
    if k == 12:
        assert np.array_equal(found, expected)
    else:  # which side is nearer is exact for any k, but for ties that a short list does not hold
        apart = np.abs(expected) > TIE
        assert ((found > 0) == (expected > 0))[apart].all() and (found == expected).mean() > 0.85


def test_an_image_of_neither_side_is_refused() -> None:
    cut = halves(1, classes=1)
    ids, cosines = np.array([[5]]), np.array([[0.5]])
    with pytest.raises(ValueError, match="neither side"):
        recut.merged(cut, (ids, cosines), (ids + 1, cosines))


def test_auc_under_each_cut_equals_auc() -> None:
    rng = np.random.default_rng(2)
    cut = halves(10)
    scores = rng.normal(size=40).round(1)
    inside = recut.recuts(cut, 70, rng)
    expected = [auc(scores, members) for members in inside]
    assert recut.aucs(scores, np.arange(40), inside) == pytest.approx(expected)


def test_p_value_equals_the_exact_one() -> None:
    """8 images of one class, 4 of them members; the statistic counts members among the first 3: hypergeometric."""
    cut = Cut(np.arange(8), np.zeros(8, int), np.arange(8), np.array([1, 1, 1, 0, 0, 0, 0, 1], bool))
    drawn = recut.recuts(cut, 20_000, np.random.default_rng(0))
    null = Null(1.0, drawn[:, :3].mean(1), 0.5)
    exact = sum(hypergeom(8, 4, 3).pmf([0, 3]))
    assert null.p_value() == pytest.approx(exact, abs=0.01)
    everything = np.array(list(itertools.combinations(range(8), 4)))
    assert (np.isin(everything, [0, 1, 2]).sum(1) == 3).mean() * 2 == pytest.approx(exact)


def test_a_model_that_knows_nothing_is_found_out_no_more_often_than_the_level() -> None:
    """Six of twenty reconstructions point at one image: a binomial test would reject too often, this one does not."""
    p_values = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        cut = halves(10)
        nearest = recut.Nearest(rng.permutation(40)[:20][:, None].repeat(2, 1), np.tile([0.9, 0.1], (20, 1)))
        nearest.places[:6, 0] = nearest.places[0, 0]
        nearest.places[:, 1] = nearest.places[:, 0] ^ 1
        members = recut.recuts(cut, 1, rng)
        drawn = recut.recuts(cut, 199, rng)
        rate = [recut.wins(recut.gaps(nearest, inside)).mean(1) for inside in (members, drawn)]
        p_values.append(Null(float(rate[0][0]), rate[1], 0.5).p_value())
    assert 0.01 <= np.mean(np.array(p_values) <= 0.05) <= 0.08  # in steps, so rather below
    assert 0.2 <= np.mean(np.array(p_values) <= 0.5) <= 0.56


def test_power_is_what_a_simulation_finds() -> None:
    """100 independent reconstructions: a share of 0.62 or more is told from 0.5 by a binomial test in 80% of runs."""
    rng = np.random.default_rng(0)
    won = [(rng.random((999, 100)) < 0.5).astype(float)]
    null = Null(0.5, won[0].mean(1), 0.5)
    told = recut.smallest_told(null, won, rng)
    assert told is not None and 0.61 < told < 0.66
    alternative = (rng.random((4000, 100)) < told).mean(1)
    assert (alternative - 0.5 > null.critical()).mean() == pytest.approx(0.8, abs=0.04)
    assert null.told_from() == pytest.approx(told, abs=0.02)


def test_one_image_that_all_point_at_tells_nothing() -> None:
    won = [np.repeat((np.arange(999) % 2)[:, None], 50, axis=1).astype(float)]
    null = Null(1.0, won[0].mean(1), 0.5)
    assert recut.smallest_told(null, won, np.random.default_rng(0)) is None and null.p_value() == 1.0
