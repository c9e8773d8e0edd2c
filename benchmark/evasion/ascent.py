"""The ascent of Auto-PGD, over any number of images at once."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor

from benchmark.evasion.attack import Losses
from benchmark.evasion.margin_losses import log_odds
from benchmark.evasion.norms import NORMS, NormName
from benchmark.evasion.pooled import pool_gradient, pool_logits
from benchmark.machine.copies import rows_where

_MOMENTUM = 0.75
"""Share of the new step in a move; the rest repeats the move before."""
_FIRST_STEP = 2.0
"""In epsilons."""


class Climbed(NamedTuple):
    """Of each row: a point (N, C, H, W), whether it fools the model (N,), and its log-odds (N,).

    The point is the first that fooled, else that of the highest loss; log-odds are of the latter alone.
    """

    points: Tensor
    fooled: Tensor
    odds: Tensor


@dataclass
class _Rows:
    """What an ascent remembers of each row that still climbs: N rows, tensors (N,) or (N, C, H, W)."""

    index: Tensor
    image: Tensor
    clean: Tensor
    classes: Tensor
    x: Tensor
    last_x: Tensor
    gradient: Tensor
    best_x: Tensor
    best_gradient: Tensor
    step_size: Tensor
    loss: Tensor
    best_loss: Tensor
    best_odds: Tensor
    checked_loss: Tensor
    rises: Tensor
    halved: Tensor
    stands: Tensor

    def keep(self, standing: Tensor) -> None:
        """These rows alone."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name)[standing])

    def leave(self, fell: Tensor, num_images: int) -> None:
        """Rows that fell, and with each those of the same image."""
        times = torch.zeros(num_images, dtype=torch.int64, device=fell.device).index_add_(0, self.image, fell.long())
        self.stands &= times[self.image] == 0

    def remember(self, gradient: Tensor | None, logits: Tensor, loss: Tensor) -> None:
        """What was found at `x`."""
        better = loss > self.best_loss
        self.rises += loss > self.loss
        self.loss = loss
        self.best_loss = torch.where(better, loss, self.best_loss)
        self.best_odds = torch.where(better, log_odds(logits, self.classes[:, 0]), self.best_odds)
        wide = better.view(-1, 1, 1, 1)
        self.best_x = torch.where(wide, self.x, self.best_x)
        if gradient is not None:
            self.gradient = gradient
            self.best_gradient = torch.where(wide, gradient, self.best_gradient)

    def step(self, norm: NormName, epsilon: float, momentum: float) -> None:
        geometry = NORMS[norm]
        delta = self.x - self.clean
        moved = delta + self.step_size * geometry.direction(self.gradient)
        tried = geometry.project(moved, epsilon).add_(self.clean).clamp_(0, 1)
        if momentum < 1:
            moved = delta.add_(tried.sub_(self.x), alpha=momentum).add_(self.x - self.last_x, alpha=1 - momentum)
            tried = geometry.project(moved, epsilon).add_(self.clean).clamp_(0, 1)
        self.last_x, self.x = self.x, tried

    def judge_step_size(self, least_rises: float) -> None:
        """Halve it, and go on from the best point, where the loss rose too seldom, or where neither it nor the
        highest loss have moved since the checkpoint before.
        """
        halve = (self.rises <= least_rises) | (~self.halved & (self.best_loss <= self.checked_loss))
        wide = halve.view(-1, 1, 1, 1)
        self.step_size = torch.where(wide, self.step_size / 2, self.step_size)
        self.x = torch.where(wide, self.best_x, self.x)
        self.gradient = torch.where(wide, self.best_gradient, self.gradient)
        self.halved, self.checked_loss, self.rises = halve, self.best_loss, torch.zeros_like(self.rises)


def _begin(clean: Tensor, start: Tensor, classes: Tensor, images: Tensor) -> _Rows:
    """Before the first look: any loss is the best, and none is a rise."""
    zeros = torch.zeros_like(images)
    lowest = torch.full(images.shape, float("-inf"), device=clean.device)
    return _Rows(
        index=torch.arange(len(images), device=clean.device),
        image=images,
        clean=clean,
        classes=classes,
        x=start,
        last_x=start,
        gradient=start,
        best_x=start,
        best_gradient=start,
        step_size=torch.ones_like(lowest).view(-1, 1, 1, 1),
        loss=-lowest,
        best_loss=lowest,
        best_odds=lowest,
        checked_loss=lowest,
        rises=zeros,
        halved=zeros == 0,  # the first checkpoint asks for rises alone
        stands=zeros == 0,
    )


def checkpoints(steps: int) -> list[int]:
    """Steps after which step sizes are judged: at 0.22 of them, then 0.03 of them closer each time, down to 0.06.

    Rounded down, as by the authors' code: of 100 steps 22, 41, 57, 70, 80, 87, 93, 99.
    """
    gap, less, least = (max(1, steps * percent // 100) for percent in (22, 3, 6))
    found = [gap]
    while found[-1] + (gap := max(gap - less, least)) <= steps:
        found.append(found[-1] + gap)
    return found


def ascend(
    model: Callable[[Tensor], Tensor],
    clean: Tensor,
    start: Tensor,
    classes: Tensor,
    images: Tensor,
    num_images: int,
    losses: Losses,
    *,
    norm: NormName,
    epsilon: float,
    steps: int,
    rho: float,
    batch_size: int,
) -> Climbed:
    """Algorithm 1 of Croce and Hein 2020, arXiv 2003.01690, from `start`, (N, C, H, W) in the ball around `clean`.

    classes: (N, k), what `losses` gets beside the logits; the first is the label. images: (N,) which of `num_images` a
    row is of: once a row fools the model, all of its image leave. Costs a row `steps` forward-backward passes and a
    forward one.
    A step size is halved at rises <= rho times the steps, as by the authors' code (the paper: <).
    """
    rows = _begin(clean, start, classes, images)
    rows.step_size *= _FIRST_STEP * epsilon
    found = Climbed(start.clone(), torch.zeros_like(rows.stands), rows.best_odds.clone())
    few, judged, last = min(len(clean), batch_size) // 16, checkpoints(steps), 0
    standing = torch.arange(len(clean), device=clean.device)
    for step in range(steps + 1):
        # Each batch size costs oneDNN and cuDNN new kernels: the fallen leave by the sixteenth, not one by one.
        if len(rows.stands) - len(standing) > few:
            rows.keep(standing)
        if not len(standing):
            break
        if step < steps:
            gradient, logits, loss = pool_gradient(model, rows.x, rows.classes, batch_size, losses)
        else:
            gradient, logits = None, pool_logits(model, rows.x, batch_size)
            loss = losses(logits, rows.classes)
        fell = rows.stands & (logits.argmax(1) != rows.classes[:, 0])
        rows.leave(fell, num_images)
        standing, fallen = rows_where(rows.stands, fell)  # the one stall of a step: who leaves must be known
        if len(fallen):
            found.points[rows.index[fallen]] = rows.x[fallen]
            found.fooled.index_fill_(0, rows.index[fallen], True)
        rows.remember(gradient, logits, loss)
        if step in judged:
            rows.judge_step_size(rho * (step - last))
            last = step
        if step < steps:
            rows.step(norm, epsilon, _MOMENTUM if step else 1.0)
    survivors = rows.index[standing]
    found.points[survivors] = rows.best_x[standing]
    found.odds[survivors] = rows.best_odds[standing]
    return found
