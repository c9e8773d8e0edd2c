"""Scores candidates in float64 and decides by them: what makes neighbors exact and gives ties one order."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

SPARE = 16
"""Neighbors fetched beyond k, so that most ties at the k-th place are resolved in one search."""
_CPU_CHUNK, _GPU_CHUNK = 1 << 21, 1 << 25
"""float64 numbers handled at a time: on the CPU (16 MiB) they stay near the cache; 256 MiB keep a GPU busy."""


class Proposals(NamedTuple):
    """Candidates (Q, m) of each query, ids into the gallery, ascending; no other row's product is above `lowest` (Q,).

    Products are in float32, so that both hold up to rounding only.
    """

    lowest: Tensor
    ids: Tensor


class Nearest(NamedTuple):
    """cosines: (Q, k) float32. ids: (Q, k) int64. Two (Q,) bool:

    doubtful: another order of summing might round to other cosines. exhaustive: decided by scoring every pair.
    """

    cosines: Tensor
    ids: Tensor
    doubtful: Tensor
    exhaustive: Tensor


def normalized(vectors: Tensor) -> Tensor:
    """Unit vectors in float64; a zero vector stays zero, so that its cosines all are 0."""
    return torch.nn.functional.normalize(vectors.double(), eps=torch.finfo(torch.float64).tiny)


def rounding_slack(units: Tensor) -> Tensor:
    """(Q, 1): by how much two computations of a cosine in float64 may differ, at most.

    A sum of D terms errs by at most D roundings of the sum of their sizes, which is at most 1 for unit vectors; the
    two norms add as much again, three divisions and a root the rest (Higham 2002, section 3.1). Twice, for two
    computations. The cosines of a zero vector are 0 in any order.
    """
    return 4 * (units.shape[1] + 4) * 2.0**-53 * units.any(dim=1, keepdim=True).double()


def decided(
    units: Tensor, gallery: Tensor, k: int, proposals: Proposals | None, slack: Tensor | None = None
) -> Nearest:
    """The k nearest of each query, sorted by (-cosine, id): of its candidates, if none left out can be among them.

    units: (Q, D) and gallery: (G, D), unit vectors in float64 on one device. proposals: None for every pair.
    slack: (Q, 1), see `rounding_slack`; None if these numbers are what counts, so that nothing is doubtful.
    """
    if proposals is None:
        return _exhaustive(units, gallery, k, slack)
    cosines, order, doubtful = _top(_scored(units, gallery, proposals.ids), k, slack)
    ids = proposals.ids.gather(1, order)
    # Settled if nothing that was left out can reach the k-th place. Proposals sum D products of unit vectors in
    # float32, and their error grows like sqrt(D) roundings.
    unsettled = proposals.lowest >= cosines[:, -1] - 5e-7 * math.sqrt(units.shape[1])
    if bool(unsettled.any()):
        every = _exhaustive(units[unsettled], gallery, k, None if slack is None else slack[unsettled])
        cosines[unsettled], ids[unsettled], doubtful[unsettled] = every.cosines, every.ids, every.doubtful
    return Nearest(cosines, ids, doubtful, unsettled)


def scored_again(found: Nearest, queries: Tensor, gallery: Tensor, k: int, proposals: Proposals) -> None:
    """Put the CPU's numbers into doubtful rows of `found` (on the CPU) whose candidates settled them; they are few.

    queries: (Q, D) and gallery: (G, D), not normalized, on any device.
    """
    rows = (found.doubtful & ~found.exhaustive).nonzero()[:, 0]
    if len(rows):
        ids = proposals.ids[rows.to(proposals.ids.device)]
        near = normalized(_on_cpu(gallery, ids.flatten()))
        places = torch.arange(ids.numel()).view(ids.shape)
        found.cosines[rows], order, _ = _top(_scored(normalized(_on_cpu(queries, rows)), near, places), k, None)
        found.ids[rows] = ids.cpu().gather(1, order)
        found.doubtful[rows] = False


def searched_again(found: Nearest, queries: Tensor, gallery: Tensor, k: int) -> None:
    """The same for the rest, which the CPU scores against every row."""
    rows = found.doubtful.nonzero()[:, 0]
    if len(rows):
        units = normalized(gallery.cpu().float())
        found.cosines[rows], found.ids[rows], _, _ = _exhaustive(normalized(_on_cpu(queries, rows)), units, k, None)
        found.doubtful[rows] = False


def _on_cpu(vectors: Tensor, rows: Tensor) -> Tensor:
    return vectors[rows.to(vectors.device)].cpu().float()


def _top(scores: Tensor, k: int, slack: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """The k largest of each row, as float32 in [-1, 1], and their columns; ties in the order of the columns.

    And which rows are doubtful: between score - slack and score + slack float32 changes, for one that may be in them.
    """
    rounded = scores.clamp_(-1, 1).float()
    columns = rounded.argsort(dim=1, descending=True, stable=True)[:, :k]
    top = rounded.gather(1, columns)
    if slack is None:
        return top, columns, torch.zeros(len(scores), dtype=torch.bool, device=scores.device)
    low, high = (scores - slack).float(), (scores + slack).float()
    return top, columns, ((low != high) & (high >= top[:, -1:])).any(dim=1)


def _scored(queries: Tensor, gallery: Tensor, ids: Tensor) -> Tensor:
    """Inner products (Q, m) of each query with the gallery rows `ids` (Q, m)."""
    scores = torch.empty(ids.shape, dtype=torch.float64, device=queries.device)
    step = max(1, _chunk(queries) // (ids.shape[1] * queries.shape[1]))
    for start in range(0, len(ids), step):
        rows = slice(start, start + step)
        scores[rows] = gallery[ids[rows]].mul_(queries[rows, None]).sum(dim=2)
    return scores


def _exhaustive(queries: Tensor, gallery: Tensor, k: int, slack: Tensor | None) -> Nearest:
    """Every pair scored: for small galleries, and for queries with more ties than were fetched."""
    step = max(1, _chunk(queries) // len(gallery))
    blocks = [slice(start, start + step) for start in range(0, len(queries), step)]
    tops = [_top(queries[rows] @ gallery.T, k, None if slack is None else slack[rows]) for rows in blocks]
    cosines, ids, doubtful = (torch.cat(parts) for parts in zip(*tops, strict=True))
    return Nearest(cosines, ids, doubtful, torch.ones_like(doubtful))


def _chunk(units: Tensor) -> int:
    return _CPU_CHUNK if units.device.type == "cpu" else _GPU_CHUNK
