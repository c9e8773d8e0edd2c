"""Margins of models whose memberships are known, without training any: Gaussians with a difficulty of each image."""

from typing import NamedTuple

import torch
from torch import Tensor

from benchmark.membership.signals import Images, Shadows, Signals


class World(NamedTuple):
    """A target, its shadow models, the images, and who is a member of the target: (P,) bool."""

    target: Signals
    shadows: Shadows
    images: Images
    is_member: Tensor


def world(
    num_images: int = 400,
    num_pairs: int = 4,
    queries: int = 1,
    gain: float = 1.0,
    difficulty: float = 3.0,
    noise: float = 1.0,
    seed: int = 0,
    adversarial: int = 1,
    num_auxiliary: int = 200,
) -> World:
    """Margins ~ N(difficulty of the image + gain if a member, noise^2), queries independent, in float64.

    Members of an even model are a random half of the images, those of the odd one the other half.
    """
    draw = torch.Generator().manual_seed(seed)
    models = 2 * num_pairs + 1
    halves = torch.rand(num_pairs + 1, num_images, generator=draw) < 0.5
    trained_on = torch.stack([halves, ~halves], dim=1).flatten(0, 1)[:models]

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    features, auxiliary_features = normal(num_images, 6), normal(num_auxiliary, 6)
    slopes = normal(6)
    slopes *= difficulty / slopes.norm()

    def margins(member: Tensor, of: Tensor, count: int) -> Tensor:
        return (of + gain * member)[..., None] + noise * normal(*member.shape, count)

    asked = Signals(
        margins(trained_on, features @ slopes, queries),
        margins(trained_on, features @ slopes - 2, adversarial),
        margins(torch.zeros(models, num_auxiliary), auxiliary_features @ slopes, queries),
    )
    target, others = (Signals(*(x[part] for x in asked)) for part in (models - 1, slice(models - 1)))
    member = trained_on[:-1]
    images = Images(
        torch.arange(num_images) % 3,
        features.float(),
        torch.arange(num_auxiliary) % 3,
        auxiliary_features.float(),
    )
    shadows = Shadows(others, member, ~member, torch.arange(models - 1) // 2)
    return World(target, shadows, images, trained_on[-1])
