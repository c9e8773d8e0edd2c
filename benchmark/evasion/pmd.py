"""Descent of the probability margin: a step along its gradient, shorter each time."""

import math

import torch
from pydantic import Field
from torch import Tensor, nn

from benchmark.evasion.attack import Perturbed, fixed
from benchmark.evasion.margin_losses import probability_margin_direction
from benchmark.evasion.norms import NORMS
from benchmark.evasion.pooled import PooledEvasion, pool_gradient, pool_logits
from benchmark.machine.copies import rows_where
from benchmark.search_space import Choice, Space

_FIRST_STEP = 2.0
"""In epsilons."""


class PMD(PooledEvasion):
    """Steps along the gradient of max_{c != y} p_c - p_y, from 2 epsilon down to 0 along half a cosine.

    An image that is fooled keeps that perturbation and leaves; one that stands comes back at its last point.
    From the probability margin attack. Differs: the whole loss from the first step on (the authors' code climbs parts
    of it for the first half), one run, and l2 balls too, with steps as long in their norm.
    """

    SOURCE = "Xie et al. 2025, CVPR, arXiv 2411.15210"
    steps: int = Field(default=100, ge=1, le=1_000_000)
    random_start: bool = True

    @property
    def passes(self) -> int:
        return self.steps

    @property
    def search_space(self) -> Space:
        return {"random_start": Choice((True, False))}

    def perturb_pool(
        self, model: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator, batch_size: int
    ) -> Perturbed:
        images = images.contiguous(memory_format=torch.channels_last)
        found = images.clone()
        start = NORMS[self.norm].random_start(images, self.epsilon, generator)
        with fixed(model):
            ids = (pool_logits(model, images, batch_size).argmax(1) == labels).nonzero().flatten()
            x = (images + start).clamp_(0, 1)[ids] if self.random_start else images[ids]
            self._descend(model, images, labels, ids, x, found, batch_size)
        return Perturbed(found, torch.zeros(0))

    def _descend(
        self, model: nn.Module, images: Tensor, labels: Tensor, ids: Tensor, x: Tensor, found: Tensor, batch_size: int
    ) -> None:
        """Write to `found`, from x, the start of the images `ids`."""
        clean, y, norm = images[ids], labels[ids], NORMS[self.norm]
        rows, few = torch.arange(len(ids), device=ids.device), min(len(ids), batch_size) // 16
        for step in range(self.steps + 1):
            # Each batch size costs oneDNN and cuDNN new kernels: the fallen leave by the sixteenth, not one by one.
            if len(ids) - len(rows) > few:
                ids, clean, x, y = ids[rows], clean[rows], x[rows], y[rows]
                rows = torch.arange(len(ids), device=ids.device)
            if not len(rows):
                return
            if step < self.steps:
                gradient, logits, _ = pool_gradient(model, x, y, batch_size, probability_margin_direction)
            else:
                logits = pool_logits(model, x, batch_size)
            found[ids[rows]] = x[rows]
            right = (logits.argmax(1) == y)[rows]
            if step < self.steps:
                length = self.epsilon * _FIRST_STEP * (1 + math.cos(math.pi * step / self.steps)) / 2
                moved = x - clean + length * norm.direction(gradient)
                x = norm.project(moved, self.epsilon).add_(clean).clamp_(0, 1)
            rows = rows[rows_where(right)[0]]  # the one stall of a step: who leaves must be known
