import pytest
import torch

from benchmark import registry, stats
from benchmark.membership.attack import MembershipAttack, threshold_of_others
from benchmark.membership.loss_threshold import LossThreshold

METHOD = LossThreshold()
IS_MEMBER = torch.tensor([[True, True, False, False], [False, False, True, True]])


def test_it_is_registered_and_is_an_attack() -> None:
    attack: MembershipAttack = METHOD
    assert registry.dump("membership", METHOD) == {"method": "loss_threshold", "version": 1}
    assert registry.parse("membership", "loss_threshold") == attack


def test_scores_are_higher_for_lower_losses() -> None:
    losses = torch.tensor([[0.1, 2.0], [5.0, 0.0]])
    assert METHOD.scores(losses).tolist() == (-losses).tolist()


def test_infer_by_hand() -> None:
    """On the other replica members lose at most 1 and non-members at least 3: half-way is -2."""
    losses = torch.tensor([[0.1, 0.2, 5.0, 6.0], [3.0, 4.0, 0.5, 1.0]])
    inference = METHOD.infer(losses, IS_MEMBER, replica=0)
    assert inference.scores.tolist() == (-losses[0]).tolist()
    assert (inference.threshold, inference.note) == (-2.0, None)


def test_the_evaluated_replica_cannot_move_its_threshold() -> None:
    generator = torch.Generator().manual_seed(0)
    losses = torch.rand(4, 50, generator=generator)
    is_member = torch.rand(4, 50, generator=generator) < 0.5
    before = METHOD.infer(losses, is_member, replica=2).threshold
    losses[2], is_member[2] = torch.rand(50, generator=generator) * 9, ~is_member[2]
    assert METHOD.infer(losses, is_member, replica=2).threshold == before
    assert METHOD.infer(losses, is_member, replica=1).threshold != before


def test_one_replica_has_no_threshold_and_says_why() -> None:
    inference = METHOD.infer(torch.rand(1, 4), IS_MEMBER[:1], replica=0)
    assert inference.threshold is None
    assert inference.note is not None and "other replicas" in inference.note
    with pytest.raises(AssertionError):
        threshold_of_others(torch.rand(2, 4), IS_MEMBER, replica=2)


def test_losses_that_know_nothing_give_a_half() -> None:
    generator = torch.Generator().manual_seed(1)
    losses = torch.rand(2, 4000, generator=generator)
    is_member = torch.rand(4000, generator=generator) < 0.5
    inference = METHOD.infer(losses, torch.stack([is_member, ~is_member]), replica=0)
    assert inference.threshold is not None
    found = stats.balanced_accuracy(inference.scores, is_member, inference.threshold)
    assert found == pytest.approx(0.5, abs=0.03)
    assert stats.auc(inference.scores, is_member) == pytest.approx(0.5, abs=0.03)
