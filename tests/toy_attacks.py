"""An attack and a stage whose best setting is known in closed form, given to runs with `--include`."""

import math
import uuid
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmark.evasion.attack import Evasion, Perturbed, input_gradient
from benchmark.evasion.norms import NORMS
from benchmark.registry import register
from benchmark.space import LogUniform, Space
from benchmark.spec import Fraction
from benchmark.trial import Context, Outcome, Stage

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


class Peak(Stage):
    """The success rate that an attack of this aim would have, and a file a call. Breaks where aim is above `most`."""

    aim: float
    calls: str
    model: str
    size: int
    most: float = 1e9

    def run(self, context: Context) -> Outcome:
        (Path(self.calls) / f"{context.trial.key}.{uuid.uuid4().hex}").touch()
        if self.aim > self.most:
            raise FloatingPointError("the toy broke")
        rate = share(self.aim)
        rows = [
            {"metric": "attack_success_rate", "value": rate, "low": rate / 2, "high": 1.0, "n": self.size},
            {"metric": "robust_accuracy", "value": 1 - rate, "low": 0.0, "high": 1.0, "n": self.size},
        ]
        return Outcome(rows=rows)


register("evasion", "toy_aimed", Aimed)
register("stage", "toy_peak", Peak)
