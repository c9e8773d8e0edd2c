"""Vanilla gradient inversion: projected gradient descent on the input towards a class."""

import math
from typing import Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from benchmark.evasion.attack import channels_last, folded, frozen
from benchmark.evasion.norms import NORMS, NormName
from benchmark.inversion.attack import Inversion, Victim
from benchmark.spec import Fraction


class GradientInversion(Inversion):
    """From a start of its own, each sample descends towards its class, in steps of fixed length.

    objective: `cross_entropy`; `logit` raises the class's logit alone, which does not saturate.
    norm: geometry of a step and of the ball. step_size: length of the first step, pixel units.
    schedule: how step lengths fall. radius: ball around the start, None for the pixel box alone.
    start: `uniform` noise in the box, or a `gaussian` of `start_mean` and `start_std`; 0 is a black canvas.
    total_variation: weight of the mean absolute difference of neighbouring pixels.
    """

    SOURCE = "Mejia et al. 2019, projected gradient descent; settings are not published"
    objective: Literal["cross_entropy", "logit"] = "cross_entropy"
    norm: NormName = "l2"
    steps: int = Field(default=200, ge=1)
    step_size: Fraction = Field(default=0.5, gt=0)
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    radius: Fraction | None = Field(default=None, gt=0)
    start: Literal["uniform", "gaussian"] = "gaussian"
    start_mean: Fraction = Field(default=0.5, ge=0, le=1)
    start_std: Fraction = Field(default=0.1, gt=0)
    total_variation: Fraction = Field(default=0.0, ge=0)
    batch_size: int = Field(default=256, ge=1)

    @property
    def label(self) -> str:
        return "gradient"

    @property
    def passes(self) -> int:
        return self.steps

    def for_memoriser(self) -> Self:
        return self.model_copy(update={"objective": "logit", "total_variation": 0.0})

    def reconstruct(self, victim: Victim, generator: torch.Generator) -> Tensor:
        targets = self.targets(victim.num_classes)
        # All starts are drawn before the batches are cut: batch_size changes no start, and results by rounding alone.
        starts = self._starts((len(targets), *victim.shape), generator)
        done = []
        with frozen(victim.model), channels_last(victim.model), folded(victim.model):
            for begin in range(0, len(targets), self.batch_size):
                x = starts[begin : begin + self.batch_size].to(victim.device, memory_format=torch.channels_last)
                y = targets[begin : begin + self.batch_size].to(victim.device)
                done.append(self._descend(victim.model, x, y).cpu())
        return torch.cat(done).contiguous()

    def _starts(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        if self.start == "uniform":
            return torch.rand(shape, generator=generator)
        return (self.start_mean + self.start_std * torch.randn(shape, generator=generator)).clamp(0, 1)

    def _descend(self, model: nn.Module, start: Tensor, targets: Tensor) -> Tensor:
        norm, x = NORMS[self.norm], start
        for step in range(self.steps):
            x = x.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(self._loss(model, x, targets), x)
            x = x.detach() - self._length(step) * norm.direction(gradient)
            if self.radius is not None:
                x = start + norm.project(x - start, self.radius)
            x = x.clamp_(0, 1)
        return x

    def _loss(self, model: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
        """Summed over the batch, so that each image's gradient is its own."""
        logits = model(x).float()
        if self.objective == "cross_entropy":
            loss = functional.cross_entropy(logits, targets, reduction="sum")
        else:
            loss = -logits.gather(1, targets[:, None]).sum()
        if self.total_variation:
            loss = loss + self.total_variation * total_variation(x).sum()
        return loss

    def _length(self, step: int) -> float:
        part = step / self.steps
        if self.schedule == "linear":
            return self.step_size * (1 - part)
        if self.schedule == "cosine":
            return self.step_size * 0.5 * (1 + math.cos(math.pi * part))
        return self.step_size


def total_variation(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N,): mean absolute difference of neighbouring pixels, both ways."""
    down = (x[:, :, 1:] - x[:, :, :-1]).abs().flatten(1).mean(1)
    across = (x[:, :, :, 1:] - x[:, :, :, :-1]).abs().flatten(1).mean(1)
    return down + across
