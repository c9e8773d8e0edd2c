"""Fast minimum-norm attack: the smallest perturbation of each image that is misclassified, with no radius given.

One run answers for every radius at once: an image is robust at epsilon if nothing smaller than epsilon fools the model.
"""

import math

import torch
from torch import Tensor, nn

from benchmark.evasion.attack import fixed
from benchmark.evasion.margin_losses import margin
from benchmark.evasion.norms import NORMS
from benchmark.evasion.pooled import pool_gradient, pool_logits
from benchmark.machine.copies import rows_where

BISECTIONS = 8
"""Forward passes of the last search, along the line from each image to its perturbed version."""
_GAMMA = (0.3, 0.01)
"""Share by which a ball shrinks when its image is fooled and grows when not; first and last."""
_STEP = (1.0, 0.01)
"""Step size in radii of the ball at hand; first and last."""


def smallest_perturbations(
    model: nn.Module, images: Tensor, labels: Tensor, norm: str, steps: int, batch_size: int
) -> tuple[Tensor, Tensor]:
    """(images (N, C, H, W) that the model gets wrong, their distances (N,)): FMN, Pintor et al. 2021, arXiv 2102.12827.

    Every image has a ball of its own: gradient steps on the margin of its class, projected to a ball that shrinks while
    the image is fooled and grows while it is not; at first to where the linearised margin is zero. Then bisection
    between each image and the smallest perturbation that was found. No random start: equal input, equal result.
    images: in [0, 1]. labels: (N,) true classes. model: in eval mode. Costs `steps` forward-backward passes an image,
    and `BISECTIONS` + 1 forward ones. A distance is an upper bound of the true one; 0 where the image is misclassified
    as it is; infinite where nothing was found, of which the image comes back unchanged.
    Deviations: the balls of the paper shrink and grow by 0.05 at first, for runs of hundreds of steps. Steps go along
    the norm's steepest direction, as long as a share of the ball, not along the gradient divided by its l2 norm, so
    that one schedule serves every norm and scale of images. The first ball reaches a little beyond the linearised
    boundary, on which a linear model would be right for ever.
    """
    with fixed(model):
        x = images.contiguous(memory_format=torch.channels_last)
        found, distances = _descend(model, x, labels, norm, steps, batch_size)
        return _between(model, x, labels, found, distances, norm, batch_size)


def _descend(
    model: nn.Module, clean: Tensor, labels: Tensor, norm: str, steps: int, batch_size: int
) -> tuple[Tensor, Tensor]:
    geometry, widest = NORMS[norm], 1.0 if norm == "linf" else math.sqrt(clean[0].numel())
    x, found = clean, clean.clone()
    smallest, radius = (torch.full((len(clean),), math.inf, device=clean.device) for _ in range(2))
    for step in range(steps + 1):
        if step == steps:  # who is fooled where the last step ended; no gradient is needed
            gradient, logits = None, pool_logits(model, x, batch_size)
        else:
            gradient, logits, lead = pool_gradient(model, x, labels, batch_size, margin)
        delta = x - clean
        size = geometry.size(delta)
        fooled = logits.argmax(1) != labels
        better = fooled & (size < smallest)
        (rows,) = rows_where(better)  # the one stall of a step
        smallest, found[rows] = torch.where(better, size, smallest), x[rows]
        if gradient is None:
            break
        gamma = _annealed(_GAMMA, step, steps)
        to_boundary = size - lead / geometry.dual(gradient).to(lead).clamp_min(1e-12)
        grown = torch.where(smallest.isinf(), to_boundary, radius) * (1 + gamma)
        radius = torch.where(fooled, torch.minimum(radius, smallest) * (1 - gamma), grown).clamp(max=widest)
        ball = radius.view(-1, 1, 1, 1)
        moved = delta + _annealed(_STEP, step, steps) * ball * geometry.direction(gradient)
        x = (clean + geometry.project(moved, ball)).clamp(0, 1)
    return found, smallest


def _between(
    model: nn.Module, clean: Tensor, labels: Tensor, found: Tensor, distances: Tensor, norm: str, batch_size: int
) -> tuple[Tensor, Tensor]:
    """Bisection on the line from each image to what fools the model; keeps only points that do fool it."""
    able = (distances.isfinite() & (distances > 0)).nonzero().flatten()
    if not len(able):
        return found, distances
    start, end, classes = clean[able], found[able], labels[able]
    nearest = end
    low, high = torch.zeros(len(able), device=clean.device), torch.ones(len(able), device=clean.device)
    for _ in range(BISECTIONS):
        share = (low + high) / 2
        x = torch.lerp(start, end, share.view(-1, 1, 1, 1)).clamp(0, 1)
        fooled = pool_logits(model, x, batch_size).argmax(1) != classes
        low, high = torch.where(fooled, low, share), torch.where(fooled, share, high)
        nearest = torch.where(fooled.view(-1, 1, 1, 1), x, nearest)
    found[able] = nearest
    return found, NORMS[norm].size(found - clean).where(distances.isfinite(), distances)


def _annealed(ends: tuple[float, float], step: int, steps: int) -> float:
    """From the first to the second along half a cosine."""
    first, last = ends
    return last + (first - last) * (1 + math.cos(math.pi * step / steps)) / 2
