"""The Square attack: random search with squares, from the logits alone."""

import torch
from pydantic import Field
from torch import Tensor, nn

from benchmark.evasion.attack import Perturbed
from benchmark.evasion.margin_losses import margin
from benchmark.evasion.pooled import PooledEvasion, fixed, pool_logits
from benchmark.evasion.squares import SEARCHES, Draws
from benchmark.spec import Fraction

HALVED_AFTER = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Queries after which the share of pixels in a square is halved, of 10,000."""
FULL = 16
"""The fallen leave once they are a share of 1 / FULL."""


class Square(PooledEvasion):
    """Random search: a square of the perturbation is redrawn, and kept where the margin falls.

    Needs no gradient, so it sees through models that mask theirs. p_init: share of the pixels in the first squares.
    rescaled: that share is halved at the paper's fractions of `queries`, as the paper does for budgets other than
    10,000; without it after as many queries as of 10,000, as standard AutoAttack does.
    All images are at the same query, and the place of its square is the same for all; signs are each image's own.
    A query that would change nothing is counted, but not asked.
    """

    SOURCE = "Andriushchenko, Croce, Flammarion and Hein 2020"
    KIND = "black_box"
    queries: int = Field(default=5000, ge=1, le=10_000_000)
    p_init: Fraction = Field(default=0.8, gt=0, le=1)
    rescaled: bool = False

    @property
    def passes(self) -> int:
        return self.queries

    @property
    def forward_only(self) -> int:
        return self.passes

    def share(self, query: int) -> float:
        """Of the pixels, in the square of this query, 1, 2, ...; query 0 is the start."""
        at = query * 10_000 // self.queries if self.rescaled else query
        return self.p_init / 2 ** sum(at > after for after in HALVED_AFTER)

    def perturb_pool(
        self, model: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator, batch_size: int
    ) -> Perturbed:
        """No loss on the way: the margin never rises, but with more than two classes the cross-entropy may fall."""
        found = images.clone()
        with fixed(model), torch.no_grad():
            ids = (pool_logits(model, images, batch_size).argmax(1) == labels).nonzero().flatten()
            draws = Draws(images.shape, generator)
            search = SEARCHES[self.norm](images[ids], self.epsilon)
            x, y = search.start(draws, ids), labels[ids]
            leads, stands = _asked(model, x, y, batch_size)
            for query in range(1, self.queries):
                if not bool(stands.any()):
                    break
                if int((~stands).sum()) > len(ids) // FULL:  # the fallen leave together: each copy costs
                    found[ids] = x
                    search.clean = search.clean[stands]
                    ids, x, y, leads, stands = (part[stands] for part in (ids, x, y, leads, stands))
                moved = search.propose(x, self.share(query), draws, ids)
                rows = _filled((stands & (moved != x).flatten(1).any(1)).nonzero().flatten())
                lower, right = _asked(model, moved[rows], y[rows], batch_size)
                better = (lower < leads[rows]) | ~right
                rows = rows[better]
                x[rows], leads[rows], stands[rows] = moved[rows], lower[better], right[better]
            found[ids] = x
        return Perturbed(found, torch.zeros(0))


def _asked(model: nn.Module, x: Tensor, labels: Tensor, batch_size: int) -> tuple[Tensor, Tensor]:
    """Of each image: by how much the logit of its class leads, and whether it is classified right."""
    if not len(x):
        return x.new_zeros(0), labels.new_zeros(0, dtype=torch.bool)
    logits = pool_logits(model, x, batch_size)
    return -margin(logits, labels), logits.argmax(1) == labels


def _filled(rows: Tensor) -> Tensor:
    """These rows, some of them twice, at most an eighth more: each batch size costs oneDNN and cuDNN new kernels."""
    step = max(1, 2 ** len(rows).bit_length() // 16)
    full = -(-len(rows) // step) * step
    return rows[torch.arange(full, device=rows.device) % len(rows)] if full else rows
