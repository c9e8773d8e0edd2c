"""What margin attacks climb, against the formulas written out by hand and a plain autograd of them."""

import pytest
import torch
from torch import Tensor

from benchmark.evasion.margin_losses import (
    dlr,
    log_odds,
    margin,
    probability_margin,
    probability_margin_direction,
    targeted_dlr,
)

LOGITS = torch.tensor([[3.0, 1.0, 0.5, -2.0, 0.0], [0.0, 4.0, 1.0, 2.0, 3.0]])
LABELS = torch.tensor([0, 0])  # right, and wrong


def gradient(loss: object, logits: Tensor, labels: Tensor) -> Tensor:
    z = logits.clone().requires_grad_(True)
    return torch.autograd.grad(loss(z, labels).sum(), z)[0]  # type: ignore[operator]


def test_margins_by_hand() -> None:
    assert margin(LOGITS, LABELS).tolist() == [-2.0, 4.0]
    assert dlr(LOGITS, LABELS).tolist() == pytest.approx([-2 / (3 - 0.5), 4 / (4 - 2)])
    targets = torch.tensor([2, 3])
    wanted = [-2.5 / (3 - (0.5 + 0.0) / 2), 2 / (4 - (2 + 1) / 2)]
    assert targeted_dlr(LOGITS, LABELS, targets).tolist() == pytest.approx(wanted)


def test_few_classes_leave_the_margin() -> None:
    two, three = LOGITS[:, :2], LOGITS[:, :3]
    assert dlr(two, LABELS).tolist() == targeted_dlr(two, LABELS, torch.tensor([1, 1])).tolist() == [-2.0, 4.0]
    assert dlr(three, LABELS).tolist() == pytest.approx([-2 / 2.5, 4 / 4])
    assert targeted_dlr(three, LABELS, torch.tensor([2, 2])).tolist() == [-2.5, 1.0]


def test_dlr_does_not_see_the_scale() -> None:
    targets = torch.tensor([2, 3])
    torch.testing.assert_close(dlr(1000 * LOGITS, LABELS), dlr(LOGITS, LABELS))
    torch.testing.assert_close(targeted_dlr(1000 * LOGITS, LABELS, targets), targeted_dlr(LOGITS, LABELS, targets))


def test_log_odds_are_cross_entropy_in_another_scale() -> None:
    cross_entropy = torch.nn.functional.cross_entropy(LOGITS, LABELS, reduction="none")
    torch.testing.assert_close(torch.nn.functional.softplus(log_odds(LOGITS, LABELS)), cross_entropy)
    own = gradient(log_odds, LOGITS, LABELS)
    theirs = gradient(lambda z, y: torch.nn.functional.cross_entropy(z, y, reduction="sum")[None], LOGITS, LABELS)
    torch.testing.assert_close(own / own.norm(dim=1, keepdim=True), theirs / theirs.norm(dim=1, keepdim=True))


def test_the_probability_margin_and_the_direction_of_its_gradient() -> None:
    p = LOGITS.softmax(1)
    wanted = p[:, 1:].amax(1) - p[:, 0]
    torch.testing.assert_close(probability_margin(LOGITS, LABELS), wanted)

    def plain(z: Tensor, y: Tensor) -> Tensor:
        q = z.softmax(1)
        return q.scatter(1, y[:, None], -1.0).amax(1) - q.gather(1, y[:, None])[:, 0]

    own = gradient(probability_margin_direction, LOGITS, LABELS)
    torch.testing.assert_close(own * (1 - p[:, :1]), gradient(plain, LOGITS, LABELS))


def test_a_sure_network_still_has_a_direction() -> None:
    """Where p_y is 1 in float32 cross-entropy and the probability margin are flat."""
    sure = torch.tensor([[400.0, 1.0, 0.0]])
    y = torch.tensor([0])
    assert gradient(lambda z, y: torch.nn.functional.cross_entropy(z, y)[None], sure, y).abs().max() == 0
    for loss in (log_odds, probability_margin_direction):
        found = gradient(loss, sure, y)[0]
        assert found[0] < -0.5 and found[1] > 0.5
