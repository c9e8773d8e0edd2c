import torch
from torch.nn import functional

from benchmark import registry
from benchmark.membership.loss_threshold import LossThreshold
from benchmark.membership.signals import Images, Shadows, Signals, margins

NOTHING = torch.zeros(3, 0, dtype=torch.float64)
NOBODY = Shadows(Signals(NOTHING, NOTHING, NOTHING), NOTHING, NOTHING, NOTHING)
IMAGES = Images(torch.zeros(3), NOTHING, torch.zeros(0), NOTHING)


def test_it_is_registered() -> None:
    assert registry.dump("membership", LossThreshold()) == {"method": "loss_threshold", "version": 1}


def test_the_score_is_the_margin_of_the_image_itself_and_the_order_that_of_the_losses() -> None:
    logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 9.0], [60.0, 0.0, 0.0]], dtype=torch.float64)
    labels = torch.tensor([0, 1, 0])
    own = torch.stack([margins(logits, labels), torch.zeros(3, dtype=torch.float64)], dim=1)
    found = LossThreshold().scores(Signals(own, NOTHING, NOTHING), NOBODY, IMAGES)
    assert torch.equal(found, own[:, 0])
    losses = functional.cross_entropy(logits, labels, reduction="none")
    torch.testing.assert_close(torch.log1p(torch.exp(-found)), losses)
    assert found.argsort().tolist() == (-losses).argsort().tolist() == [1, 0, 2]
