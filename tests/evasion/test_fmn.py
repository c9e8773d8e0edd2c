"""The smallest perturbations: exact on linear models, no weaker than PGD at any radius, at a fraction of its passes."""

import math

import pytest
import torch
from torch import Tensor, nn
from toy_networks import SHAPE, Counting, Linear, trained

from benchmark.evasion.fmn import BISECTIONS, smallest_perturbations
from benchmark.evasion.norms import NORMS
from benchmark.evasion.pgd import PGD

NORM_NAMES = pytest.mark.parametrize("norm", ["linf", "l2"])
RADII = {"linf": (0.005, 0.01, 0.015, 0.02, 0.03), "l2": (0.05, 0.1, 0.15, 0.2, 0.3)}


@NORM_NAMES
def test_distances_on_a_linear_model_are_margin_over_dual_norm(norm: str) -> None:
    model, epsilons = Linear(), torch.tensor([-0.01, 0.002, 0.005, 0.01, 0.02]) * (1 if norm == "linf" else 10)
    y = torch.tensor([0, 1, 0, 1, 1])
    x = model.images_at(epsilons * model.dual_norm(norm), y)
    found, distances = smallest_perturbations(model, x, y, norm, 20, 3)
    torch.testing.assert_close(distances, epsilons.clamp(min=0), rtol=3e-3, atol=0)
    assert bool((distances >= epsilons.clamp(min=0) * (1 - 1e-4)).all()), "nothing nearer fools a linear model"
    assert torch.equal(found[0], x[0]), "what is misclassified needs no perturbation"
    assert bool((model(found).argmax(1) != y).all()) and bool(((found >= 0) & (found <= 1)).all())
    torch.testing.assert_close(NORMS[norm].size(found - x), distances)


def test_the_box_is_a_bound_that_the_distance_knows() -> None:
    """z = <w, x> - 1/2 of two pixels, w = (1, 3), x = (0, 0): pixel 2 alone is the nearest in l2, with x >= 0 and <= 1.

    linf: both pixels at 1/8. l2: along w, 0.5 / sqrt(10). From the second image, where pixel 2 must not fall below 0,
    only pixel 1 is left to lower the score.
    """

    class Two(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            z = x.flatten(1) @ torch.tensor([1.0, 3.0]) - 0.5
            return torch.stack([-z, z], 1)

    x = torch.tensor([[0.0, 0.0], [0.9, 0.0]]).view(2, 1, 1, 2)
    y = torch.tensor([0, 1])
    for norm, expected in (("linf", [0.125, 0.4]), ("l2", [0.5 / math.sqrt(10), 0.4])):
        _, distances = smallest_perturbations(Two(), x, y, norm, 40, 2)
        torch.testing.assert_close(distances, torch.tensor(expected), rtol=0.01, atol=0)


@NORM_NAMES
def test_one_run_is_no_weaker_than_pgd_at_every_radius(norm: str) -> None:
    """Twenty passes for all radii against twenty for each."""
    network, x, y = trained()
    counting = Counting(network)
    _, distances = smallest_perturbations(counting, x, y, norm, 20, len(x))
    assert len(counting.sizes) == 20 + 1 + BISECTIONS
    curve = [float((distances > epsilon).double().mean()) for epsilon in RADII[norm]]
    assert curve == sorted(curve, reverse=True)
    for epsilon, robust in zip(RADII[norm], curve, strict=True):
        attack = PGD(norm=norm, epsilon=epsilon)  # type: ignore[arg-type]
        found = attack.perturb(network, x, y, torch.Generator().manual_seed(0)).images
        with torch.no_grad():
            assert robust <= float((network(found).argmax(1) == y).double().mean()) + 1.5 / len(x)


def test_batches_change_nothing_but_rounding_and_no_state_moves() -> None:
    network, x, y = trained()
    state, given = torch.get_rng_state(), x.clone()
    whole, parts = (smallest_perturbations(network, x, y, "l2", 10, size)[1] for size in (48, 7))
    torch.testing.assert_close(whole, parts, rtol=0.05, atol=1e-4)
    assert torch.equal(torch.get_rng_state(), state) and torch.equal(x, given)
    assert all(p.requires_grad for p in network.parameters())


@NORM_NAMES
def test_more_steps_find_smaller_ones_on_average(norm: str) -> None:
    network, x, y = trained()
    few, many = (smallest_perturbations(network, x, y, norm, steps, 48)[1].mean() for steps in (3, 30))
    assert many < 0.97 * few


@NORM_NAMES
def test_a_constant_model_cannot_be_fooled(norm: str) -> None:
    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.tensor([1.0, 0.0, 0.0]) + 0 * x.flatten(1).sum(1, keepdim=True)

    x = torch.rand(4, *SHAPE, generator=torch.Generator().manual_seed(0))
    found, distances = smallest_perturbations(Constant(), x, torch.tensor([0, 0, 1, 2]), norm, 5, 4)
    assert distances.tolist() == [math.inf, math.inf, 0, 0] and torch.equal(found, x)
