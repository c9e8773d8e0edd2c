"""Projected gradient descent on the input."""

from collections.abc import Callable

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from benchmark.evasion.attack import Evasion, Perturbed, folded, frozen, input_gradient
from benchmark.evasion.norms import NORMS
from benchmark.spec import Fraction


class PGD(Evasion):
    """Steps along the gradient's direction, projected to the ball and [0, 1], from random starts.

    An image that is fooled keeps that perturbation and leaves the batch, so the cost falls
    with the model's robustness; restarts see only the images that still stand.
    step_size: pixel units; None is 2.5 epsilon / steps (Madry et al.'s choice).
    """

    SOURCE = "Madry et al. 2018"
    steps: int = Field(default=20, ge=1)
    step_size: Fraction | None = Field(default=None, gt=0)
    restarts: int = Field(default=1, ge=1)
    random_start: bool = True

    @property
    def passes(self) -> int:
        return self.steps * self.restarts

    def perturb(self, model: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> Perturbed:
        found = images.clone()
        with torch.no_grad():
            standing = (model(images).argmax(1) == labels).nonzero().flatten()
        curves = []
        with frozen(model), folded(model):
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
        norm, alive = NORMS[self.norm], standing
        step_size = self.step_size or 2.5 * self.epsilon / self.steps
        clean, y = images[alive], labels[alive]
        delta = start[alive] if self.random_start else torch.zeros_like(clean)
        x = (clean + delta).clamp(0, 1)
        last = torch.zeros(len(images), device=images.device)
        curve = []
        for _ in range(self.steps):
            if not len(alive):
                break
            gradient, logits, losses = input_gradient(model, x, y)
            last[alive] = losses
            curve.append(last[standing].mean())
            stands = logits.argmax(1) == y
            if not bool(stands.all()):
                found[alive[~stands]] = x[~stands]
                alive, clean, x = alive[stands], clean[stands], x[stands]
                y, gradient = y[stands], gradient[stands]
            moved = x - clean + step_size * norm.direction(gradient)
            x = norm.project(moved, self.epsilon).add_(clean).clamp_(0, 1)
        found[alive] = x
        if len(alive):
            with torch.no_grad():
                logits = model(x)
            last[alive] = functional.cross_entropy(logits.float(), y, reduction="none")
            curve.append(last[standing].mean())
            alive = alive[logits.argmax(1) == y]
        return alive, torch.stack(curve).cpu() if curve else torch.zeros(0)


def perturb_for_training(
    model: Callable[[Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    norm: str,
    epsilon: float,
    steps: int,
    step_size: float,
    generator: torch.Generator,
) -> Tensor:
    """Adversarial examples for a training step: every image takes every step, from a random start."""
    geometry = NORMS[norm]
    x = (images + geometry.random_start(images, epsilon, generator)).clamp_(0, 1)
    for _ in range(steps):
        gradient, _, _ = input_gradient(model, x, labels)
        delta = geometry.project(x - images + step_size * geometry.direction(gradient), epsilon)
        x = delta.add_(images).clamp_(0, 1)
    return x
