"""Which classes a targeted attack aims at, and in which order."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from benchmark.evasion.norms import NORMS, NormName

TargetOrder = Literal["logits", "almost_linear"]
CANDIDATES = 3
"""Classes that `almost_linear` looks at for each that it picks."""


def by_logits(logits: Tensor, labels: Tensor, count: int) -> Tensor:
    """The classes with the largest logits but the true one, (N, K), (N,) -> (N, min(count, K - 1))."""
    others = logits.scatter(1, labels[:, None], float("-inf"))
    return others.topk(min(count, logits.shape[1] - 1), dim=1).indices


def almost_linear(
    model: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor, norm: NormName, count: int, batch_size: int
) -> Tensor:
    """The classes that a linear model with this image's logits and gradients would be moved to first.

    Ordered by (z_y - z_c) / |grad z_y - grad z_c|, among the `CANDIDATES` times `count` classes with the largest logits
    (MALT, Melamed, Yehudai and Shamir 2024, arXiv 2407.02240). Differs: the paper looks at the 100 largest. The norm of
    the gradient is the dual of the attack's, so that of a linear model the order is that of the distances.
    images: (N, C, H, W), as many at once as `batch_size`. Gives (N, min(count, K - 1)).
    """
    batches = zip(images.split(batch_size), labels.split(batch_size), strict=True)
    return torch.cat([_almost_linear(model, x, y, norm, count) for x, y in batches])


def _almost_linear(model: Callable[[Tensor], Tensor], x: Tensor, labels: Tensor, norm: NormName, count: int) -> Tensor:
    x = x.detach().requires_grad_(True)
    logits = model(x)
    candidates = by_logits(logits.detach(), labels, CANDIDATES * count)
    gaps = logits.gather(1, labels[:, None]) - logits.gather(1, candidates)
    steep = []
    for column in gaps.unbind(1):
        (gradient,) = torch.autograd.grad(column.sum(), x, retain_graph=True)
        steep.append(NORMS[norm].dual(gradient))
    distances = gaps.detach() / torch.stack(steep, 1).clamp_min(1e-37)
    nearest = distances.argsort(dim=1, stable=True)[:, :count]
    return candidates.gather(1, nearest)
