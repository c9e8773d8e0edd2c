"""The Square attack: random search with squares, from the logits alone."""

import torch
from pydantic import Field
from torch import Tensor, nn

from benchmark.evasion.attack import Perturbed, fixed
from benchmark.evasion.margin_losses import margin
from benchmark.evasion.pooled import PooledEvasion, pool_logits
from benchmark.evasion.squares import SEARCHES, Draws, L2Squares, LinfSquares
from benchmark.machine.copies import rows_where, sent
from benchmark.spec import Fraction

HALVED_AFTER = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Queries after which the share of pixels in a square is halved, of 10,000."""
AHEAD = 16
"""Most queries of an image in one batch."""


class Square(PooledEvasion):
    """Random search: a square of the perturbation is redrawn, and kept where the margin falls.

    Needs no gradient, so it sees through models that mask theirs. p_init: share of the pixels in the first squares.
    rescaled: that share is halved at the paper's fractions of `queries`, as the paper does for budgets other than
    10,000; without it after as many queries as of 10,000, as standard AutoAttack does.
    The place of a query's square is the same for all images; signs are each image's own.
    A query that would change nothing is counted, but not asked. Where few images stand, a batch holds several queries
    of each, asked from where it is now: those after the first that is kept are asked again from there, so that the
    search is the same as one query after the other, and the batches stay full.
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
        share: float = self.p_init / 2.0 ** sum(at > after for after in HALVED_AFTER)
        return share

    def perturb_pool(
        self, model: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator, batch_size: int
    ) -> Perturbed:
        """No loss on the way: the margin never rises, but with more than two classes the cross-entropy may fall."""
        found = images.clone()
        with fixed(model), torch.no_grad():
            ids = (pool_logits(model, images, batch_size).argmax(1) == labels).nonzero().flatten()
            search = SEARCHES[self.norm](Draws(images.shape, generator), self.epsilon)
            standing = _Standing(model, batch_size, ids, images[ids], search.start(images)[ids], labels[ids])
            query = 1
            while True:
                standing.leave(found)
                count = min(self.queries - query, standing.ahead(query))
                if not count:
                    return Perturbed(found, torch.zeros(0))
                drawn = zip(*(search.drawn(self.share(q)) for q in range(query, query + count)), strict=True)
                squares, signs = (sent(torch.stack(parts), images.device).to(images.dtype) for parts in drawn)
                standing.ask(search, squares, signs)
                query += count


class _Standing:
    """The images that stand: ids (n,), where they are now, x (n, C, H, W), and by how much their class leads there."""

    def __init__(
        self, model: nn.Module, batch_size: int, ids: Tensor, clean: Tensor, x: Tensor, labels: Tensor
    ) -> None:
        self.model, self.batch_size, self.ids, self.clean, self.x, self.labels = (
            model,
            batch_size,
            ids,
            clean,
            x,
            labels,
        )
        self.leads, self.right = _asked(model, x, labels, batch_size)
        (self.standing,) = rows_where(self.right)

    def leave(self, found: Tensor) -> None:
        """Those that fell since; found: (N, C, H, W), gets where all of them are."""
        found[self.ids] = self.x
        stay = self.standing
        if len(stay) < len(self.ids):
            self.ids, self.clean, self.x = self.ids[stay], self.clean[stay], self.x[stay]
            self.labels, self.leads, self.right = self.labels[stay], self.leads[stay], self.right[stay]

    def ahead(self, query: int) -> int:
        """Queries to ask at once: as fill a batch, but few at first, while many are kept. None where none stands."""
        count = len(self.ids)
        return min(AHEAD, 1 + query // AHEAD, max(1, self.batch_size // count)) if count else 0

    def ask(self, search: LinfSquares | L2Squares, squares: Tensor, signs: Tensor) -> None:
        """Queries one after the other. squares: (K, ., H, W), signs: (K, N, C, 1, 1), those of K queries."""
        count, rows = len(squares), torch.arange(len(self.ids), device=self.ids.device)
        image, turn = rows.repeat_interleave(count), torch.arange(count, device=rows.device).repeat(len(rows))
        while len(image):
            x, where = self.x[image], squares[turn] if count > 1 else squares
            moved = search.propose(x, self.clean[image], where, signs[turn, self.ids[image]])
            change = (moved - x).flatten(1)
            # Two stalls for each batch: what is to be asked, and what of it is kept.
            asked = _filled(*rows_where(torch.linalg.vecdot(change, change) > 0))
            who, when = image[asked], turn[asked]
            leads, right = _asked(self.model, moved[asked], self.labels[who], self.batch_size)
            better = (leads < self.leads[who]) | ~right
            when_better = when.where(better, count)
            first = torch.full_like(rows, count).scatter_reduce_(0, who, when_better, "amin")
            first_of_all = better & (when == first[who])
            self.right &= torch.zeros_like(rows).index_add_(0, who, (first_of_all & ~right).long()) == 0
            left = (turn > first[image]) & self.right[image]
            kept, again, self.standing = rows_where(first_of_all, left, self.right)
            self.x[who[kept]], self.leads[who[kept]] = moved[asked[kept]], leads[kept]
            image, turn = image[again], turn[again]


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
