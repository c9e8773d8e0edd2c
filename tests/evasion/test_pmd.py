"""What only PMD promises: its steps, and that being sure is no defence."""

import math

import pytest
import torch
from test_evasion_attacks import right
from toy_networks import SHAPE, Counting, Linear, trained

from benchmark.evasion.margin_losses import probability_margin
from benchmark.evasion.norms import NORMS, NormName
from benchmark.evasion.pmd import PMD


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_it_follows_the_gradient_of_the_probability_margin_in_shorter_and_shorter_steps(norm: NormName) -> None:
    """A plain loop over one image that stands, with the gradient of the margin of the softmax itself."""
    network, x, y = trained()
    epsilon, steps = (0.004, 6) if norm == "linf" else (0.05, 6)
    found = PMD(norm=norm, epsilon=epsilon, steps=steps, random_start=False).perturb(network, x, y, generator()).images
    stands = right(network, found, y)
    assert stands.sum() > 10
    now = x[stands]
    for step in range(steps):
        now = now.detach().requires_grad_(True)
        loss = probability_margin(network(now).double(), y[stands]).sum()
        (slope,) = torch.autograd.grad(loss, now)
        length = epsilon * (1 + math.cos(math.pi * step / steps))
        way = slope.sign() if norm == "linf" else slope / slope.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        moved = NORMS[norm].project(now.detach() + length * way - x[stands], epsilon)
        now = (x[stands] + moved).clamp(0, 1)
    gaps = (found[stands] - now).abs().flatten(1).amax(1)
    assert (gaps > 1e-4).sum() <= 2, "rounding turns the sign of a gradient next to nothing"


def test_the_fallen_leave() -> None:
    model = Linear()
    y = torch.ones(32, dtype=torch.int64)
    margins = torch.cat([torch.full((8,), 0.5), torch.full((24,), 1.5)]) * 0.05 * model.dual_norm("linf")
    counting = Counting(model)
    PMD(epsilon=0.05, steps=4).perturb(counting, model.images_at(margins, y), y, generator())
    assert counting.sizes == [32, 32, 32, 24, 24, 24]


def test_a_network_that_is_too_sure_for_float32_is_attacked_all_the_same() -> None:
    """Its softmax is 1 and 0, its probability margin flat."""
    model = Linear(gain=1e4)
    reach = 0.05 * model.dual_norm("linf")
    y = torch.zeros(4, dtype=torch.int64)
    x = model.images_at(torch.full((4,), 0.9) * reach, y)
    assert probability_margin(model(x), y).tolist() == [-1.0] * 4
    assert not right(model, PMD(epsilon=0.05).perturb(model, x, y, generator()).images, y).any()


def test_two_classes_run() -> None:
    model, x = Linear(gain=0.1), torch.rand(5, *SHAPE, generator=generator())
    y = model(x).argmax(1)
    assert not right(model, PMD(epsilon=0.5).perturb(model, x, y, generator()).images, y).any()
