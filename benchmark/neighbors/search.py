"""`cosine_knn`: checks its input, and hands it to the engine that searches here."""

import torch
from torch import Tensor

from benchmark.neighbors import with_faiss, with_torch
from benchmark.neighbors.backends import chosen
from benchmark.neighbors.scoring import SPARE, Proposals, decided, normalized

_CHECKED = 1 << 25
"""Numbers checked at a time."""


def cosine_knn(queries: Tensor, gallery: Tensor, k: int, device: torch.device | str = "auto") -> tuple[Tensor, Tensor]:
    """The k gallery rows with the largest cosine to each query, exactly.

    queries: (Q, D) with Q >= 1, gallery: (G, D), any real dtype, read as float32, on any device. 1 <= k <= G.
    device: "auto" for the best there is, "cpu" for no GPU, or "cuda[:i]"; a GPU that cannot search is passed over.
    Returns cosines (Q, k) float32 in [-1, 1] and ids (Q, k) int64 into the gallery, on the CPU, sorted by
    (-cosine, id). A zero vector has cosine 0 to everything.

    Faiss or torch proposes candidates in float32; they are scored again in float64 and rounded to float32. A query
    whose k-th place the proposals do not settle is scored against every row, so that ties have one order.
    GPU and CPU give the same answer: where two orders of a float64 sum could round to different float32, by a bound
    on their errors, a GPU's query is scored again by the CPU. One exception remains: cosines within some 1e-16 of the
    middle between two float32, for a query that was scored against every row, may round to either of them on the CPU
    itself, as its matrix products sum in an order that depends on their shape.
    Threads on the CPU: as many as torch has.
    Raises ValueError on inputs that are empty, not finite, not two-dimensional or of unequal width, and on a k out
    of range.
    """
    queries, gallery = _checked("queries", queries), _checked("gallery", gallery)
    if queries.shape[1] != gallery.shape[1]:
        raise ValueError(f"queries have width {queries.shape[1]}; allowed: the gallery's width, {gallery.shape[1]}")
    if not 1 <= k <= len(gallery):
        raise ValueError(f"k is {k}; allowed: 1 to {len(gallery)}, the size of the gallery")
    engine = chosen(device)
    gpu = (engine.device.index or 0) if engine.device.type == "cuda" and k + SPARE <= with_faiss.GPU_MAX_K else None
    if engine.scores is None:
        return _by_faiss(queries.cpu(), gallery.cpu(), k, gpu)
    if not engine.by_faiss or gpu is None:
        return with_torch.knn(queries, gallery, k, engine.scores)

    def proposer(queries: Tensor, part: Tensor, fetch: int) -> with_torch.ByBlock:
        found = with_faiss.proposed(normalized(queries).float(), part, fetch, gpu)
        return lambda rows: Proposals(found.lowest[rows], found.ids[rows])

    return with_torch.knn(queries, gallery, k, engine.scores, proposer)


def _by_faiss(queries: Tensor, gallery: Tensor, k: int, gpu: int | None) -> tuple[Tensor, Tensor]:
    """All on the CPU but, where there is a GPU for faiss alone, its proposals."""
    units, gallery_units = normalized(queries), normalized(gallery)
    proposals = None
    if k + SPARE < len(gallery):
        proposals = with_faiss.proposed(units.float(), gallery_units.float(), k + SPARE, gpu)
    found = decided(units, gallery_units, k, proposals)
    return found.cosines, found.ids


def _checked(name: str, vectors: Tensor) -> Tensor:
    if vectors.ndim != 2 or vectors.numel() == 0:
        raise ValueError(f"{name} have shape {tuple(vectors.shape)}; allowed: (number, width), both at least 1")
    vectors = vectors.detach().to(torch.float32).contiguous()
    step = max(1, _CHECKED // vectors.shape[1])
    for start in range(0, len(vectors), step):
        finite = torch.isfinite(vectors[start : start + step]).all(dim=1)
        if not bool(finite.all()):
            row = start + int((~finite).nonzero()[0])
            raise ValueError(f"{name} row {row} holds NaN or infinity; allowed: finite numbers")
    return vectors
