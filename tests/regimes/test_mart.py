"""MART's loss by hand, and what its two parts do."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from benchmark import registry
from benchmark.planning.labels import label
from benchmark.regimes.mart import MART, boosted_cross_entropy
from benchmark.spec import SpecError


def logits_of(*probabilities: float) -> Tensor:
    return torch.tensor([probabilities]).log()


def test_the_boosted_cross_entropy_by_hand() -> None:
    """Of p = (0.5, 0.3, 0.2) and class 1: -ln 0.3 - ln(1 - 0.5); of class 0 the largest other is 0.3."""
    logits = logits_of(0.5, 0.3, 0.2)
    for true, wrong in ((1, 0.5), (0, 0.3)):
        p = [0.5, 0.3, 0.2][true]
        by_hand = -math.log(p) - math.log(1 - wrong)
        assert boosted_cross_entropy(logits, torch.tensor([true])).item() == pytest.approx(by_hand, abs=1e-3)
    sure = torch.tensor([[0.0, 200.0]], requires_grad=True)
    loss = boosted_cross_entropy(sure, torch.tensor([0]))
    loss.sum().backward()
    assert sure.grad is not None and loss.isfinite().all() and sure.grad.isfinite().all()


def loss(method: MART, clean: Tensor, moved: Tensor, labels: Tensor) -> float:
    """Of a network that gives these logits for the clean and the moved images."""
    outputs = {0.0: clean, 1.0: moved}
    return method.loss(lambda x: outputs[float(x)], torch.tensor(0.0), torch.tensor(1.0), labels).item()


def test_the_whole_loss_by_hand() -> None:
    """beta KL(p || q) (1 - p_y), mean of an image that the network gets right and one that it gets wrong."""
    clean, moved = torch.tensor([[0.9, 0.1], [0.2, 0.8]]), torch.tensor([[0.6, 0.4], [0.5, 0.5]])
    parts = []
    for p, q in zip(clean.tolist(), moved.tolist(), strict=True):
        divergence = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
        parts.append(-math.log(q[0]) - math.log(1 - q[1]) + 3 * divergence * (1 - p[0]))
    found = loss(MART(epsilon=0.1, beta=3), clean.log(), moved.log(), torch.tensor([0, 0]))
    assert found == pytest.approx(sum(parts) / 2, abs=1e-3)


def test_an_image_that_is_wrong_counts_more() -> None:
    """Equal divergence, weights 1 - p_y of 0.1 and 0.9."""
    found = []
    for p in (0.9, 0.1):
        clean = logits_of(p, 1 - p)
        whole, plain = (loss(MART(epsilon=0.1, beta=b), clean, clean.flip(1), torch.tensor([0])) for b in (1, 0))
        found.append(whole - plain)
    assert found[1] / found[0] == pytest.approx(9, rel=1e-3)


def test_beta_0_is_boosted_cross_entropy_of_adversarial_images_alone() -> None:
    logits = 2 * torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    found = loss(MART(epsilon=0.1, beta=0), 0.3 * logits, logits, labels)
    p = logits.softmax(1)
    wrong = torch.stack([torch.cat([row[:y], row[y + 1 :]]).max() for row, y in zip(p, labels.tolist(), strict=True)])
    expected = functional.cross_entropy(logits, labels) - (1 - wrong).log().mean()
    assert found == pytest.approx(expected.item(), abs=2e-3)


def test_its_settings() -> None:
    method: Any = registry.parse("regime", {"method": "mart", "epsilon": "8/255"})
    assert (method.beta, method.steps) == (5.0, 10) and label("regime", method) == "mart-linf-0.03137"
    assert method.passes_per_image == 8 * 12
    assert MART(epsilon=0.1, weight_perturbation=0.01).passes_per_image == 8 * 14
    with pytest.raises(SpecError, match="beta"):
        registry.parse("regime", {"method": "mart", "epsilon": 0.1, "beta": -1})
