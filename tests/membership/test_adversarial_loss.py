import pytest
import torch
from simulated_membership import world

from benchmark import registry, stats
from benchmark.membership.adversarial_loss import AdversarialLoss


def test_it_is_the_margin_that_fools_the_model_most_and_needs_no_shadows() -> None:
    w = world(num_images=4, num_pairs=0, adversarial=2)
    w.target.adversarial[:] = torch.tensor([[1.0, 2.0], [4.0, -3.0], [0.0, 0.0], [1e300, 1e301]])
    found = AdversarialLoss().scores(w.target, w.shadows, w.images)
    assert found[:3].tolist() == [1.0, -3.0, 0.0]
    assert found[3].isfinite() and found[3] > 1e9


def test_it_sees_what_the_images_themselves_do_not_show_and_a_coin_gives_a_half() -> None:
    w = world(num_images=3000, gain=2.0, difficulty=0.5)
    w.target.margins[:] = 0
    scores = AdversarialLoss().scores(w.target, w.shadows, w.images)
    assert stats.auc(scores, w.is_member) > 0.8
    coin = torch.rand(3000, generator=torch.Generator().manual_seed(3)) < 0.5
    assert stats.auc(scores, coin) == pytest.approx(0.5, abs=0.03)


def test_without_adversarial_versions_it_says_so() -> None:
    w = world(num_images=4, adversarial=0)
    with pytest.raises(ValueError, match="^signal 'adversarial': this model was asked no such query"):
        AdversarialLoss().scores(w.target, w.shadows, w.images)
    assert registry.parse("membership", "adversarial_loss").needs_adversarial  # type: ignore[attr-defined]
