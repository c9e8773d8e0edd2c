import numpy as np
import numpy.typing as npt
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from benchmark import stats
from benchmark.stats import (
    auc,
    balanced_accuracy,
    best_threshold,
    tpr_at_fpr,
)

Sample = tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]


def sample(seed: int, shift: float, num_members: int = 60, num_non_members: int = 40, digits: int = 12) -> Sample:
    """Normal scores, members `shift` higher; few digits make ties."""
    is_member = np.arange(num_members + num_non_members) < num_members
    scores = np.random.default_rng(seed).normal(size=len(is_member)) + shift * is_member
    return scores.round(digits), is_member


def test_auc_by_hand() -> None:
    """Pairs: 3 beats 1 and 2; 2 beats 1 and ties 2: 3.5 of 4."""
    assert auc([3.0, 2.0, 1.0, 2.0], [True, True, False, False]) == 3.5 / 4


@pytest.mark.parametrize("digits", [0, 1, 12])
@pytest.mark.parametrize("shift", [-1.0, 0.0, 2.0])
def test_auc_equals_sklearn(digits: int, shift: float) -> None:
    scores, is_member = sample(0, shift, digits=digits)
    assert auc(scores, is_member) == pytest.approx(roc_auc_score(is_member, scores), abs=1e-12)


def test_auc_takes_tensors_and_random_scores_give_a_half() -> None:
    generator = torch.Generator().manual_seed(0)
    scores, is_member = torch.rand(4000, generator=generator), torch.rand(4000, generator=generator) < 0.5
    assert auc(scores, is_member) == pytest.approx(0.5, abs=0.03)
    assert auc(torch.ones(4), torch.tensor([True, False, True, False])) == 0.5


def test_tpr_at_fpr_by_hand() -> None:
    scores = np.array([9, 8, 7, 3, 1, 10, 7, 2, 0, -1])
    is_member = np.arange(10) < 5
    assert tpr_at_fpr(scores, is_member, 0.2) == 2 / 5  # above 7: 9 and 8; the tied 7 would not raise the rate
    assert tpr_at_fpr(scores, is_member, 0.39) == 2 / 5
    assert tpr_at_fpr(scores, is_member, 0.4) == 4 / 5  # above 2
    assert tpr_at_fpr(scores, is_member, 0.999) == 5 / 5  # above -1


@pytest.mark.parametrize("digits", [0, 12])
@pytest.mark.parametrize("fpr", [0.025, 0.1, 0.29, 0.5])
def test_tpr_at_fpr_is_the_best_of_all_thresholds_within_the_fpr(digits: int, fpr: float) -> None:
    scores, is_member = sample(5, 0.8, digits=digits)
    rates = [((scores[is_member] > t).mean(), (scores[~is_member] > t).mean()) for t in scores]
    assert tpr_at_fpr(scores, is_member, fpr) == max(tpr for tpr, realised in rates if realised <= fpr + 1e-12)


def test_tpr_at_fpr_does_not_reward_constant_scores() -> None:
    assert tpr_at_fpr(np.zeros(200), np.arange(200) < 100, 0.01) == 0.0


@pytest.mark.parametrize(("num", "fpr"), [(100, 0.01), (1000, 0.001), (100, 0.29)])
def test_tpr_at_fpr_allows_exactly_its_share(num: int, fpr: float) -> None:
    """Members lie between the non-members in turn: k false alarms allow k + 1 finds, whatever 0.29 * 100 rounds to."""
    scores = np.r_[np.arange(num) + 0.5, np.arange(num)]
    assert tpr_at_fpr(scores, np.arange(2 * num) < num, fpr) == (round(fpr * num) + 1) / num


@pytest.mark.parametrize("fpr", [0.0249, 0.0, 1.0, -0.1])
def test_tpr_at_fpr_refuses_what_the_data_cannot_resolve(fpr: float) -> None:
    scores, is_member = sample(0, 1.0)
    with pytest.raises(ValueError, match="fpr"):
        tpr_at_fpr(scores, is_member, fpr)


def test_balanced_accuracy_equals_sklearn() -> None:
    scores, is_member = sample(1, 1.0, digits=1)
    for threshold in (-1.0, 0.3, 0.5):
        expected = balanced_accuracy_score(is_member, scores > threshold)
        assert balanced_accuracy(scores, is_member, threshold) == pytest.approx(expected)


@pytest.mark.parametrize("digits", [0, 1, 12])
@pytest.mark.parametrize("shift", [-0.5, 0.0, 1.0])
def test_best_threshold_beats_every_other(digits: int, shift: float) -> None:
    scores, is_member = sample(2, shift, digits=digits)
    best = balanced_accuracy(scores, is_member, best_threshold(scores, is_member))
    assert best == pytest.approx(max(balanced_accuracy(scores, is_member, t) for t in [*scores, -100.0]))


def test_best_threshold_lies_half_way_and_survives_neighboring_floats() -> None:
    assert best_threshold([0.0, 1.0, 4.0, 6.0], [False, False, True, True]) == 2.5
    one_up = np.nextafter(1.0, 2.0)
    two_up = np.nextafter(one_up, 2.0)  # half-way rounds to the lower of the first pair, the upper of the second
    assert best_threshold([1.0, one_up], [False, True]) == 1.0
    assert best_threshold([one_up, two_up], [False, True]) == one_up
    assert best_threshold([1.0, 2.0, 3.0], [True, False, False]) == 3.0  # worse than chance: nobody is a member


@pytest.mark.parametrize(
    ("scores", "is_member"),
    [([1.0, 2.0], [True, True]), ([1.0, 2.0], [False, False]), ([1.0, np.nan], [True, False]),
     ([1.0, -np.inf], [True, False])],
)  # fmt: skip
@pytest.mark.parametrize("name", ["auc", "best_threshold"])
def test_one_sided_or_broken_scores_are_refused(name: str, scores: list[float], is_member: list[bool]) -> None:
    with pytest.raises(ValueError, match="allowed"):
        getattr(stats, name)(scores, is_member)
