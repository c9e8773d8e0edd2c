"""DeepInversion: images whose batch-norm statistics are those of the training data."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import torch
from pydantic import Field
from torch import Tensor, nn

from benchmark.evasion.attack import channels_last, frozen
from benchmark.inversion.attack import Victim
from benchmark.inversion.descent import (
    MOST_WEIGHT,
    Adam,
    Descent,
    Objective,
    Schedule,
    class_loss,
    share_left,
    total_variation,
)
from benchmark.search_space import Choice, LogUniform, Space, around
from benchmark.spec import Fraction


class DeepInversion(Descent):
    """Adam on a batch of all classes: class loss, batch-norm prior, total variation and l2 prior.

    batch_norm: weight of the sum, over all batch-norm layers, of the distance of the batch's mean to the running
    mean and of its variance to the running variance. A batch mixes all classes evenly, as the training data did;
    batch_size therefore changes the result beyond rounding. A network without batch norm is attacked without this
    prior, and the trial's `passes_per_sample` says so.
    l2: weight of the mean squared pixel. jitter: each step shifts all images by up to so many pixels, at random.
    step_size: Adam's learning rate, pixel units.
    Differs from the source: pixels stay in [0, 1]; total variation is a mean of absolute differences; no flips,
    which are wrong for digits and clothes; budgets are hundreds of steps, not thousands.
    """

    SOURCE = "Yin et al. 2020, Dreaming to Distill, arXiv 1912.08795"
    objective: Objective = "cross_entropy"
    step_size: Fraction = Field(default=0.1, gt=0, le=10_000)
    schedule: Schedule = "cosine"
    batch_norm: Fraction = Field(default=0.1, ge=0, le=MOST_WEIGHT)
    total_variation: Fraction = Field(default=0.1, ge=0, le=MOST_WEIGHT)
    l2: Fraction = Field(default=0.0, ge=0, le=MOST_WEIGHT)
    jitter: int = Field(default=0, ge=0, le=10_000)

    @property
    def search_space(self) -> Space:
        return {
            "step_size": around(self.step_size),
            "batch_norm": LogUniform(0.001, 10.0),
            "total_variation": LogUniform(0.001, 10.0),
            "l2": Choice((0.0, 0.001, 0.01, 0.1)),
            "jitter": Choice((0, 1, 2)),
            **self.start_space,
        }

    def for_memoriser(self) -> Self:
        return self.model_copy(update={"objective": "logit", "total_variation": 0.0, "l2": 0.0, "jitter": 0})

    def remark(self, model: nn.Module) -> str:
        return "" if _norms(model) else "no batch-norm layers: attacked without the batch-norm prior"

    def reconstruct(self, victim: Victim, generator: torch.Generator) -> Tensor:
        starts, targets = self.starts(victim, generator), self.targets(victim.num_classes)
        # Sample by sample instead of class by class, and in batches of nearly one size: each has all classes.
        mixed = torch.arange(len(targets)).view(victim.num_classes, -1).T.flatten()
        made = torch.empty_like(starts)
        # Batch norms must stay where they are, so nothing is folded.
        with frozen(victim.model), channels_last(victim.model):
            for ids in mixed.tensor_split(-(-len(mixed) // self.batch_size)):
                x = starts[ids].to(victim.device, memory_format=torch.channels_last)
                shifts = torch.randint(-self.jitter, self.jitter + 1, (self.steps, 2), generator=generator).tolist()
                made[ids] = self._descend(victim.model, x, targets[ids].to(victim.device), shifts).cpu()
        return made

    def _descend(self, model: nn.Module, x: Tensor, targets: Tensor, shifts: list[list[int]]) -> Tensor:
        towards = Adam()
        with statistics_loss(model) as layer_losses:
            for step in range(self.steps):
                x = x.detach().requires_grad_(True)
                layer_losses.clear()
                logits = model(x.roll(shifts[step], (2, 3)) if self.jitter else x)
                loss = class_loss(logits, targets, self.objective) / len(x)
                loss = loss + self.total_variation * total_variation(x).mean() + self.l2 * x.square().mean()
                if layer_losses and self.batch_norm:
                    loss = loss + self.batch_norm * torch.stack(layer_losses).sum()
                (gradient,) = torch.autograd.grad(loss, x)
                # A mean over the batch: times its size, a gradient is that of an image, far above Adam's epsilon.
                length = self.step_size * share_left(self.schedule, step / self.steps)
                x = x.detach() - length * towards(gradient * len(x))
                x = self.after_step(x, (step + 1) / self.steps).clamp(0, 1)
        return x


def _norms(model: nn.Module) -> list[nn.BatchNorm2d]:
    return [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d) and layer.track_running_stats]


@contextmanager
def statistics_loss(model: nn.Module) -> Iterator[list[Tensor]]:
    """A list to which each forward pass appends one loss a batch-norm layer (Yin et al. 2020).

    |mean - running mean|_2 + |variance - running variance|_2, vectors over channels; the batch's variance is the
    biased one. The caller clears the list.
    """
    losses: list[Tensor] = []

    def compare(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, nn.BatchNorm2d) and layer.running_mean is not None and layer.running_var is not None
        variance, mean = torch.var_mean(inputs[0], (0, 2, 3), correction=0)
        losses.append((mean - layer.running_mean).norm() + (variance - layer.running_var).norm())

    hooks = [layer.register_forward_pre_hook(compare) for layer in _norms(model)]
    try:
        yield losses
    finally:
        for hook in hooks:
            hook.remove()
