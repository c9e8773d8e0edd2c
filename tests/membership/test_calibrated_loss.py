import pytest
import torch
from simulated_membership import world

from benchmark import registry, stats
from benchmark.membership.calibrated_loss import CalibratedLoss


def test_it_is_the_loss_less_that_of_models_that_never_saw_the_image() -> None:
    w = world(num_images=30, queries=3)
    found = CalibratedLoss().scores(w.target, w.shadows, w.images)

    def loss(margin: torch.Tensor) -> torch.Tensor:
        return (1 + (-margin).exp()).log()

    for i in range(30):
        usual = torch.stack([loss(m[i]).mean() for m, out in zip(*_models(w), strict=True) if out[i]]).mean()
        assert found[i].item() == pytest.approx((usual - loss(w.target.margins[i]).mean()).item(), abs=1e-12)


def _models(w: object) -> tuple[torch.Tensor, torch.Tensor]:
    return w.shadows.signals.margins, w.shadows.never_seen  # type: ignore[attr-defined]


def test_it_beats_the_loss_and_a_coin_gives_a_half() -> None:
    w = world(num_images=3000, gain=1.5)
    scores = CalibratedLoss().scores(w.target, w.shadows, w.images)
    assert stats.auc(scores, w.is_member) > stats.auc(w.target.margins[:, 0], w.is_member) + 0.05
    coin = torch.rand(3000, generator=torch.Generator().manual_seed(3)) < 0.5
    assert stats.auc(scores, coin) == pytest.approx(0.5, abs=0.03)


def test_an_image_that_every_model_saw_and_huge_margins() -> None:
    """Image 0: log p is log 1/2 for its IN models; image 1 has log 1/2 in and log 1/3 out."""
    w = world(num_images=2, num_pairs=1)
    half, third = 0.0, -torch.tensor(2.0).log()
    w.shadows.signals.margins[:, :, 0] = torch.tensor([[half, half], [half, third]])
    w.shadows.trained_on[:] = torch.tensor([[True, True], [True, False]])
    w.shadows.never_seen[:] = ~w.shadows.trained_on
    w.target.margins[:] = 0
    found = CalibratedLoss().scores(w.target, w.shadows, w.images)
    # OUT of image 0 is log 1/2 - (log 1/2 - log 1/3) = log 1/3.
    assert found.tolist() == pytest.approx([torch.tensor(1.5).log().item()] * 2)
    w.target.margins[0], w.shadows.signals.margins[:, 1] = -1e300, 1e300
    assert CalibratedLoss().scores(w.target, w.shadows, w.images).isfinite().all()


def test_settings() -> None:
    assert registry.parse("membership", "calibrated_loss") == CalibratedLoss()
    assert CalibratedLoss(signal="adversarial").needs_adversarial
    w = world(num_images=10, adversarial=0)
    with pytest.raises(ValueError, match="^signal 'adversarial'"):
        CalibratedLoss(signal="adversarial").scores(w.target, w.shadows, w.images)
