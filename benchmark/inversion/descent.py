"""Shared by the attacks that descend on pixels: where they start, their loss, their steps."""

import math
from collections.abc import Callable
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from benchmark.evasion.attack import channels_last, folded, frozen
from benchmark.evasion.norms import NORMS, NormName
from benchmark.inversion.attack import Inversion, Victim
from benchmark.search_space import Choice, LogUniform, Space
from benchmark.spec import Fraction

StepRule = Literal["steepest", "sign", "adam"]
Schedule = Literal["constant", "linear", "cosine"]
Objective = Literal["cross_entropy", "logit"]
MOST_WEIGHT = 1e9
"""Of one term of a loss beside another: float32 tells them apart no further."""
_RIDGE = 1e-4
"""Variance of a pixel that is added to a class's Gaussian, so that directions without data have some too."""


class Descent(Inversion):
    """Each sample descends from a start of its own; `steps` is the whole budget of a sample.

    start: `uniform` noise in the box; `gaussian` of `start_mean` and `start_std`; `zeros`, a black canvas, from
    which all samples of a class are one image; `class_gaussian`, a draw from a Gaussian with the mean and the
    covariance of the auxiliary images of the target class (Santurkar et al. 2019), at `1 / start_grain` of the
    resolution. They take grain 1 for 32 x 32 images and 4 for 224 x 224.
    total_variation: weight of the mean absolute difference of neighboring pixels.
    """

    steps: int = Field(default=200, ge=1, le=10_000_000)
    start: Literal["uniform", "gaussian", "zeros", "class_gaussian"] = "gaussian"
    start_mean: Fraction = Field(default=0.5, ge=0, le=1)
    start_std: Fraction = Field(default=0.1, gt=0, le=100)
    start_grain: int = Field(default=1, ge=1, le=10_000)
    total_variation: Fraction = Field(default=0.0, ge=0, le=MOST_WEIGHT)
    batch_size: int = Field(default=256, ge=1, le=1_000_000)

    @property
    def passes(self) -> int:
        return self.steps

    @property
    def start_space(self) -> Space:
        """Of the Gaussian start alone: other starts are another attack, and some show the class by themselves."""
        if self.start != "gaussian":
            return {}
        return {"start_mean": Choice((0.0, 0.25, 0.5)), "start_std": LogUniform(0.02, 0.5)}

    def reconstruct(self, victim: Victim, generator: torch.Generator) -> Tensor:
        targets = self.targets(victim.num_classes)
        # All starts are drawn before the batches are cut: batch_size changes no start, and results by rounding alone.
        starts = self.starts(victim, generator)
        done = []
        with frozen(victim.model), channels_last(victim.model), folded(victim.model):
            for begin in range(0, len(targets), self.batch_size):
                x = starts[begin : begin + self.batch_size].to(victim.device, memory_format=torch.channels_last)
                y = targets[begin : begin + self.batch_size].to(victim.device)
                done.append(self.descend(victim.model, x, y).cpu())
        return torch.cat(done).contiguous()

    def descend(self, model: nn.Module, start: Tensor, targets: Tensor) -> Tensor:
        """One batch: starts (N, C, H, W) and targets (N,) -> images in [0, 1]. For attacks of one descent a batch."""
        raise NotImplementedError

    def after_step(self, images: Tensor, part: float) -> Tensor:
        """What becomes of images (N, C, H, W) after each step, before they are cut to the ball and to [0, 1].

        Here nothing. part: share of the steps that are done, in (0, 1].
        """
        return images

    def starts(self, victim: Victim, generator: torch.Generator) -> Tensor:
        """(N, C, H, W) in [0, 1], on the CPU, for all targets at once: batch_size then changes no start.

        Raises ValueError for a class with fewer than 2 auxiliary images, if the start needs them.
        """
        shape = (self.samples_per_class * victim.num_classes, *victim.shape)
        if self.start == "zeros":
            return torch.zeros(shape)
        if self.start == "uniform":
            return torch.rand(shape, generator=generator)
        if self.start == "gaussian":
            return (self.start_mean + self.start_std * torch.randn(shape, generator=generator)).clamp(0, 1)
        images, labels = victim.auxiliary
        draws = []
        for target in range(victim.num_classes):
            of_class = images[(labels == target).to(images.device)].cpu()
            if len(of_class) < 2:
                raise ValueError(
                    f"start: 'class_gaussian' needs 2 auxiliary images of class {target}, of which there are "
                    f"{len(of_class)}; allowed: gaussian, uniform, zeros"
                )
            draws.append(class_gaussian(of_class.float() / 255, self.samples_per_class, self.start_grain, generator))
        return torch.cat(draws).clamp(0, 1)


def class_gaussian(images: Tensor, count: int, grain: int, generator: torch.Generator) -> Tensor:
    """(count, C, H, W) draws from N(mean, covariance + 1e-4 I) of images (N, C, H, W), N >= 2.

    The images are averaged over grain x grain places; the draws are enlarged by repetition. A draw is the mean
    plus a random combination of the centred images: its covariance is exactly the sample's, whatever its rank,
    and no covariance matrix is ever made.
    """
    height, width = images.shape[2:]
    small = functional.avg_pool2d(images, grain, ceil_mode=True)
    mean, rows = small.mean(0), (small - small.mean(0)).flatten(1)
    weights = torch.randn(count, len(rows), generator=generator) / math.sqrt(len(rows) - 1)
    drawn = weights @ rows + math.sqrt(_RIDGE) * torch.randn(count, rows.shape[1], generator=generator)
    drawn = mean + drawn.view(count, *mean.shape)
    return drawn.repeat_interleave(grain, 2).repeat_interleave(grain, 3)[:, :, :height, :width]


def class_loss(logits: Tensor, targets: Tensor, objective: Objective) -> Tensor:
    """Summed over the batch, so that each image's gradient is its own."""
    logits = logits.float()
    if objective == "cross_entropy":
        return functional.cross_entropy(logits, targets, reduction="sum")
    return -logits.gather(1, targets[:, None]).sum()


def total_variation(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N,): mean absolute difference of neighboring pixels, both ways."""
    down = (x[:, :, 1:] - x[:, :, :-1]).abs().flatten(1).mean(1)
    across = (x[:, :, :, 1:] - x[:, :, :, :-1]).abs().flatten(1).mean(1)
    return down + across


def share_left(schedule: Schedule, part: float) -> float:
    """Length of a step as a share of the first, when `part` of the steps is done."""
    if schedule == "linear":
        return 1 - part
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * part))
    return 1.0


def direction(rule: StepRule, norm: NormName) -> Callable[[Tensor], Tensor]:
    """A function from the gradient of each step, in their order, to what a step of length 1 takes away."""
    if rule == "steepest":
        return NORMS[norm].direction
    return torch.sign if rule == "sign" else Adam()


class Adam:
    """Kingma and Ba 2015, Algorithm 1, without the learning rate: betas 0.9 and 0.999, epsilon 1e-8.

    A state a pixel, so that the images of a batch do not meet.
    """

    def __init__(self) -> None:
        self.first: Tensor | None = None
        self.second: Tensor | None = None
        self.step = 0

    def __call__(self, gradient: Tensor) -> Tensor:
        if self.first is None or self.second is None:
            self.first = self.second = gradient.new_zeros(())  # on the gradient's device
        self.step += 1
        self.first = torch.lerp(gradient, self.first, 0.9)
        self.second = torch.lerp(gradient.square(), self.second, 0.999)
        size = (self.second / (1 - 0.999**self.step)).sqrt_().add_(1e-8)
        return self.first / (1 - 0.9**self.step) / size
