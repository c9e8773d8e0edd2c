"""Searches on a device of torch, in blocks: what does not fit into its memory is cut into halves."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, reduce
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from benchmark.neighbors.scoring import (
    SPARE,
    Nearest,
    Proposals,
    decided,
    normalized,
    rounding_slack,
    scored_again,
    searched_again,
)

_PART_BYTES = 8 << 30
"""Of the gallery on the device at a time, in float64 and float32: 1,400,000 rows of 512."""
_PRODUCT_BYTES = 1 << 30
"""Of a block of queries with their inner products."""
_COLUMNS = 1 << 15
"""Gallery rows that are multiplied at a time."""
_GROUP = 32
"""Columns whose largest number is found before any top-k."""
_COPIED = 1 << 25
"""Numbers of the gallery copied and normalized at a time."""

_Done = TypeVar("_Done")
ByBlock = Callable[[slice], Proposals]
"""Proposals for some rows of the queries."""
Proposer = Callable[[Tensor, Tensor, int], ByBlock]
"""Of queries (Q, D), not normalized, for a part of the gallery (G, D), float32 unit vectors on the device, so many."""


def knn(
    queries: Tensor, gallery: Tensor, k: int, device: torch.device, proposer: Proposer | None = None
) -> tuple[Tensor, Tensor]:
    """`cosine_knn` of checked inputs, computed on `device`.

    The gallery is searched part by part, and the best of the parts are merged; a part is searched for one block of
    queries after the other. Where the device runs out of memory, the block is halved, and at last the part.
    proposer: see `proposer_on`, the default.
    Raises torch.OutOfMemoryError if one query and one row do not fit.
    """
    rows = max(1, _PART_BYTES // (12 * gallery.shape[1]))
    search = partial(_in_part, queries, gallery, k, device, proposer or proposer_on(device))
    with _full_float32(device):
        return reduce(partial(_merged, k), _in_blocks(len(gallery), rows, search))


def _merged(k: int, best: tuple[Tensor, Tensor], found: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The k best of two; ids of the second are larger, so that a stable sort breaks ties by id."""
    cosines, ids = (torch.cat(both, dim=1) for both in zip(best, found, strict=True))
    order = cosines.argsort(dim=1, descending=True, stable=True)[:, :k]
    return cosines.gather(1, order), ids.gather(1, order)


def proposer_on(device: torch.device) -> Proposer:
    """Proposes by matrix products on `device`."""

    def of_part(queries: Tensor, part: Tensor, fetch: int) -> ByBlock:
        return lambda rows: proposed(normalized(_moved(queries[rows], device)).float(), part, fetch)

    return of_part


def proposed(queries: Tensor, gallery: Tensor, fetch: int) -> Proposals:
    """The `fetch` largest inner products of each query (Q, D) with the gallery (G, D), in their dtype and place."""
    best = queries.new_empty(len(queries), 0)
    ids = best.long()
    for start in range(0, len(gallery), _COLUMNS):
        values, columns = largest(queries @ gallery[start : start + _COLUMNS].T, fetch)
        values = torch.cat([best, values], dim=1)
        best, order = values.topk(min(fetch, values.shape[1]), sorted=False)
        ids = torch.cat([ids, columns + start], dim=1).gather(1, order)
    return Proposals(best.amin(dim=1), ids.sort(dim=1).values)


def largest(products: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row (N, M), or all if there are fewer, and their columns, in any order.

    The k largest are in the k groups of columns with the largest maxima: had one no place in them, each of k groups
    would have a larger one. Finding maxima reads every number once, and the top-k, which reads them many times, is left
    with few.
    """
    num, width = products.shape
    if width < 4 * k * _GROUP:
        return products.topk(min(k, width), sorted=False)
    groups = -(-width // _GROUP)
    if width % _GROUP:
        products = functional.pad(products, (0, groups * _GROUP - width), value=-torch.inf)
    grouped = products.view(num, groups, _GROUP)
    best = grouped.amax(dim=2).topk(k, sorted=False).indices
    values, places = grouped.gather(1, best[:, :, None].expand(-1, -1, _GROUP)).flatten(1).topk(k, sorted=False)
    return values, best.gather(1, places // _GROUP) * _GROUP + places % _GROUP


def queries_at_once(num_gallery: int, width: int, k: int) -> int:
    """Of a block that has the memory it asks for: products, candidates found so far, and the queries themselves."""
    return max(1, _PRODUCT_BYTES // (4 * min(num_gallery, _COLUMNS) + 32 * (k + SPARE) + 32 * width))


def _in_part(
    queries: Tensor, gallery: Tensor, k: int, device: torch.device, proposer: Proposer, part: slice
) -> tuple[Tensor, Tensor]:
    """The k best of a part of the gallery, or all if it has fewer, and their ids, on the CPU."""
    rows = gallery[part]
    k = min(k, len(rows))
    units, short = _units(rows, device)
    proposals = proposer(queries, short, k + SPARE) if k + SPARE < len(rows) else None
    search = partial(_of_block, queries, rows, units, k, proposals)
    blocks = _in_blocks(len(queries), queries_at_once(len(rows), rows.shape[1], k), search)
    found = Nearest(*map(torch.cat, zip(*blocks, strict=True)))
    searched_again(found, queries, rows, k)
    return found.cosines, found.ids + part.start


def _of_block(queries: Tensor, rows: Tensor, units: Tensor, k: int, proposals: ByBlock | None, block: slice) -> Nearest:
    mine = normalized(_moved(queries[block], units.device))
    proposed = None if proposals is None else Proposals(*(x.to(units.device) for x in proposals(block)))
    found = Nearest(*(x.cpu() for x in decided(mine, units, k, proposed, rounding_slack(mine))))
    if proposed is not None:
        scored_again(found, queries[block], rows, k, proposed)
    return found


def _units(rows: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Unit vectors on the device in float64, and the same in float32."""
    units = torch.empty(rows.shape, dtype=torch.float64, device=device)
    short = torch.empty(rows.shape, dtype=torch.float32, device=device)
    step = max(1, _COPIED // rows.shape[1])
    for start in range(0, len(rows), step):
        some = slice(start, start + step)
        units[some] = normalized(_moved(rows[some], device))
        short[some] = units[some]
    return units, short


def _moved(vectors: Tensor, device: torch.device) -> Tensor:
    return vectors.to(device, torch.float32)


def _in_blocks(total: int, size: int, work: Callable[[slice], _Done]) -> Iterator[_Done]:
    """`work` of ranges of at most `size` of `total`, in order; half as large from the one on that does not fit.

    Raises torch.OutOfMemoryError if a single one does not.
    """
    start, size = 0, min(size, total)
    while start < total:
        block = slice(start, min(start + size, total))
        try:
            done = work(block)
        except torch.OutOfMemoryError:
            if size == 1:
                raise
            done = None
        if done is None:  # out of the handler, where the failed call's tensors have been let go
            size = (size + 1) // 2
            torch.cuda.empty_cache()
            continue
        yield done
        start = block.stop


@contextmanager
def _full_float32(device: torch.device) -> Iterator[None]:
    """Products of float32 without TF32 and without autocast, whatever the process has set; as it was after it.

    torch has an older and a newer switch, and refuses to multiply where they disagree: so both are set, and put back.
    """
    cuda, cpu = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    newer = cuda.fp32_precision, cpu.fp32_precision
    try:
        older = torch.get_float32_matmul_precision()
    except RuntimeError:  # set by the newer switch alone
        older = "highest"
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device.type, enabled=False), torch.no_grad():
            yield
    finally:
        torch.set_float32_matmul_precision(older)
        cuda.fp32_precision, cpu.fp32_precision = newer
