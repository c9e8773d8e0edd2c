"""Methods that go wrong, given to `bench` with `--include`; those that can be mended are, once $MENDED exists."""

import os
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmark.evasion.attack import Evasion, Perturbed
from benchmark.inversion.attack import Inversion, Victim
from benchmark.models.classifier import Classifier
from benchmark.regimes.regime import Regime
from benchmark.registry import register
from benchmark.trials.training_progress import UNKEPT, Progress


class Raising(Evasion):
    """Raises until it is mended, then attacks nothing."""

    def perturb(self, model: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> Perturbed:
        if not Path(os.environ["MENDED"]).exists():
            raise RuntimeError("the user's attack <b>broke</b>")
        return Perturbed(images, torch.zeros(1))


class Cheating(Evasion):
    """Leaves its ball: grey images, which any classifier gets wrong most of the time."""

    def perturb(self, model: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> Perturbed:
        return Perturbed(torch.full_like(images, 0.5), torch.zeros(1))


class OutOfMemory(Regime):
    """What Python says when it has no memory left."""

    def fit(
        self,
        model: Classifier,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator,
        progress: Progress = UNKEPT,
    ) -> list[float]:
        raise MemoryError("no room for the gradients")


class NotANumber(Inversion):
    """Reconstructions that hold NaN."""

    def reconstruct(self, victim: Victim, generator: torch.Generator) -> Tensor:
        return torch.full((len(self.targets(victim.num_classes)), *victim.shape), float("nan"))


register("evasion", "raising", Raising)
register("evasion", "cheating", Cheating)
register("regime", "out_of_memory", OutOfMemory)
register("inversion", "not_a_number", NotANumber)
