"""Projected gradient descent on the input."""

from collections.abc import Callable
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from benchmark.evasion.attack import Evasion, Losses, Perturbed, cross_entropies, fixed, input_gradient
from benchmark.evasion.norms import LARGEST_L2, NORMS, check_length
from benchmark.machine.copies import rows_where
from benchmark.search_space import Choice, LogUniform, Space, around
from benchmark.spec import Fraction


def usual_step_size(epsilon: float, steps: int) -> float:
    """Madry et al.'s choice (2018): so many steps reach any point of the ball from any other, with some to spare."""
    return 2.5 * epsilon / steps


class PGD(Evasion):
    """Steps along the gradient's direction, projected to the ball and [0, 1], from random starts.

    An image that is fooled keeps that perturbation and leaves the batch, so the cost falls
    with the model's robustness; restarts see only the images that still stand.
    step_size: pixel units; None is `usual_step_size`, 2.5 epsilon / steps.
    """

    SOURCE = "Madry et al. 2018"
    steps: int = Field(default=20, ge=1, le=1_000_000)
    step_size: Fraction | None = Field(default=None, gt=0, le=LARGEST_L2)
    restarts: int = Field(default=1, ge=1, le=100_000)
    random_start: bool = True

    @model_validator(mode="after")
    def _steps_in_pixel_units(self) -> Self:
        check_length(self.norm, self.step_size, "step_size")
        return self

    def follow(self, gradient: Tensor, followed: Tensor | None) -> Tensor:
        """What the next step goes along, (N, C, H, W): here the gradient; an attack with a memory gives another.

        followed: what this gave for the same images one step before; None at the first step of a restart.
        """
        return gradient

    @property
    def passes(self) -> int:
        return self.steps * self.restarts

    @property
    def search_space(self) -> Space:
        step_size = around(usual_step_size(self.epsilon, self.steps))
        widest = 1.0 if self.norm == "linf" else LARGEST_L2
        space: Space = {"step_size": LogUniform(step_size.low, min(step_size.high, widest))}
        # Restarts from the image itself would all be one attack.
        return {**space, "random_start": Choice((True, False))} if self.restarts == 1 else space

    def perturb(self, model: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> Perturbed:
        found, curves = images.clone(), []
        images = images.contiguous(memory_format=torch.channels_last)
        with fixed(model):
            with torch.no_grad():
                standing = (model(images).argmax(1) == labels).nonzero().flatten()
            for _ in range(self.restarts):
                # Drawn for the whole batch: an image's start does not depend on which others stand.
                start = NORMS[self.norm].random_start(images, self.epsilon, generator)
                standing, curve = self._descend(model, images, labels, start, standing, found)
                curves.append(curve)
        return Perturbed(found, curves[0])

    def _descend(
        self, model: nn.Module, images: Tensor, labels: Tensor, start: Tensor, standing: Tensor, found: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One restart over the standing images; writes to `found`, returns who still stands."""
        norm, ids = NORMS[self.norm], standing
        step_size = self.step_size or usual_step_size(self.epsilon, self.steps)
        clean, y = images[ids], labels[ids]
        x = (clean + start[ids]).clamp_(0, 1) if self.random_start else clean
        rows = torch.arange(len(ids), device=ids.device)
        last = torch.zeros(len(images), device=images.device)
        curve, followed = [], None
        for step in range(self.steps + 1):
            if not len(rows):
                break
            # Each batch size costs oneDNN and cuDNN new kernels: the fallen leave by the sixteenth, not one by one.
            if step == self.steps or len(ids) - len(rows) > len(images) // 16:
                followed = None if followed is None else followed[rows]
                ids, clean, x, y = ids[rows], clean[rows], x[rows], y[rows]
                rows = torch.arange(len(ids), device=ids.device)
            gradient, logits, losses = self._look(model, x, y, last_time=step == self.steps)
            last[ids[rows]] = losses[rows]
            curve.append(last[standing].mean())
            found[ids[rows]] = x[rows]
            right = (logits.argmax(1) == y)[rows]
            if gradient is not None:
                followed = self.follow(gradient, followed)
                moved = x - clean + step_size * norm.direction(followed)
                x = norm.project(moved, self.epsilon).add_(clean).clamp_(0, 1)
            rows = rows[rows_where(right)[0]]  # the one stall of a step: who leaves must be known
        return ids[rows], torch.stack(curve).cpu() if curve else torch.zeros(0)

    @staticmethod
    def _look(model: nn.Module, x: Tensor, y: Tensor, last_time: bool) -> tuple[Tensor | None, Tensor, Tensor]:
        """Gradient, logits and losses where the attack stands; after the last step no gradient is needed."""
        if not last_time:
            return input_gradient(model, x, y)
        with torch.no_grad():
            logits = model(x)
        return None, logits, cross_entropies(logits, y)


def perturb_for_training(
    model: Callable[[Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    norm: str,
    epsilon: float,
    steps: int,
    step_size: float,
    generator: torch.Generator,
    *,
    start: Tensor | None = None,
    losses: Losses = cross_entropies,
) -> Tensor:
    """Adversarial examples for a training step: every image takes every step.

    start: (N, C, H, W), where the first is taken; None is a random point of the ball. losses: what the steps raise.
    """
    geometry = NORMS[norm]
    if start is None:
        start = (images + geometry.random_start(images, epsilon, generator)).clamp_(0, 1)
    x = start
    for _ in range(steps):
        gradient, _, _ = input_gradient(model, x, labels, losses)
        delta = geometry.project(x - images + step_size * geometry.direction(gradient), epsilon)
        x = delta.add_(images).clamp_(0, 1)
    return x
