"""An attack whose best setting is known in closed form, given to runs with `--include`."""

import math

import torch
from torch import Tensor, nn

from benchmark.evasion.attack import Evasion, Perturbed, input_gradient
from benchmark.evasion.norms import NORMS
from benchmark.registry import register
from benchmark.search_space import LogUniform, Space
from benchmark.spec import Fraction

BEST = 0.3


def share(aim: float) -> float:
    """1 at the best aim alone, falling with the distance of its logarithm."""
    return math.exp(-abs(math.log(aim / BEST)))


class Aimed(Evasion):
    """A gradient step, the shorter the further `aim` is from the best: on a linear model it fools fewer images."""

    aim: Fraction = 3.0

    @property
    def search_space(self) -> Space:
        return {"aim": LogUniform(0.003, 30.0)}

    def perturb(self, model: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> Perturbed:
        gradient, _, losses = input_gradient(model, images, labels)
        moved = images + self.epsilon * share(self.aim) * NORMS[self.norm].direction(gradient)
        return Perturbed(moved.clamp(0, 1), losses.mean().view(1))


register("evasion", "toy_aimed", Aimed)
