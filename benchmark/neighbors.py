"""Finds exact nearest neighbors by cosine. The only module that imports faiss."""

import functools
import math
import subprocess
import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor

_SPARE = 16
"""Neighbors fetched beyond k, so that most ties at the k-th place are resolved in one search."""
_GPU_MAX_K = 2048
_GPU_TILE_BYTES = 1 << 30
_CHUNK = 1 << 21
"""float64 numbers handled at a time (16 MiB): they stay near the cache."""
_SMOKE_TEST = """
import torch, faiss, numpy as np
x = np.eye(8, dtype=np.float32)
_, ids = faiss.knn_gpu(faiss.StandardGpuResources(), x, x, 1, metric=faiss.METRIC_INNER_PRODUCT)
assert (ids[:, 0] == np.arange(8)).all()
"""


def cosine_knn(queries: Tensor, gallery: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k gallery rows with the largest cosine to each query, exactly.

    queries: (Q, D) with Q >= 1, gallery: (G, D), any real dtype, read as float32. 1 <= k <= G.
    Returns cosines (Q, k) float32 in [-1, 1] and ids (Q, k) int64 into the gallery, on the CPU, sorted by
    (-cosine, id). A zero vector has cosine 0 to everything.
    Faiss proposes candidates in float32; they are scored again in float64 and rounded to float32, so that ties have
    one order, and GPU and CPU give the same answer. Threads: as many as torch has.
    Raises ValueError on inputs that are empty, not finite, not two-dimensional or of unequal width, and on a k out
    of range.
    """
    queries, gallery = _checked("queries", queries), _checked("gallery", gallery)
    if queries.shape[1] != gallery.shape[1]:
        raise ValueError(f"queries have width {queries.shape[1]}; allowed: the gallery's width, {gallery.shape[1]}")
    num_gallery = len(gallery)
    if not 1 <= k <= num_gallery:
        raise ValueError(f"k is {k}; allowed: 1 to {num_gallery}, the size of the gallery")
    units, gallery_units = _normalized(queries), _normalized(gallery)
    fetch = k + _SPARE
    if fetch >= num_gallery:
        return _exhaustive(units, gallery_units, k)
    lowest, candidates = _search(units.float(), gallery_units.float(), fetch)
    cosines, order = _top(_rescored(units, gallery_units, candidates), k)
    ids = candidates.gather(1, order)
    # Settled if nothing that was left out can reach the k-th place. Faiss sums D products of unit vectors in
    # float32, and its error grows like sqrt(D) roundings.
    unsettled = (lowest >= cosines[:, -1] - 5e-7 * math.sqrt(queries.shape[1])).nonzero()[:, 0]
    if len(unsettled):
        cosines[unsettled], ids[unsettled] = _exhaustive(units[unsettled], gallery_units, k)
    return cosines, ids


def backend() -> str:
    """What searches here and why, in a line for `bench doctor`."""
    faiss = _faiss()
    if _gpu_works():
        return f"faiss {faiss.__version__} on {faiss.get_num_gpus()} GPU(s)"
    why = "the GPU search failed its smoke test" if faiss.get_num_gpus() > 0 else "faiss sees no GPU"
    return f"faiss {faiss.__version__} on the CPU ({why})"


def _checked(name: str, vectors: Tensor) -> Tensor:
    if vectors.ndim != 2 or vectors.numel() == 0:
        raise ValueError(f"{name} have shape {tuple(vectors.shape)}; allowed: (number, width), both at least 1")
    vectors = vectors.detach().to("cpu", torch.float32).contiguous()
    finite = torch.isfinite(vectors).all(dim=1)
    if not bool(finite.all()):
        row = int((~finite).nonzero()[0])
        raise ValueError(f"{name} row {row} holds NaN or infinity; allowed: finite numbers")
    return vectors


def _normalized(vectors: Tensor) -> Tensor:
    """Unit vectors in float64; a zero vector stays zero, so that its cosines all are 0."""
    return torch.nn.functional.normalize(vectors.double(), eps=torch.finfo(torch.float64).tiny)


def _top(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row, as float32 in [-1, 1], and their columns; ties in the order of the columns."""
    rounded = scores.clamp_(-1, 1).float()
    columns = rounded.argsort(dim=1, descending=True, stable=True)[:, :k]
    return rounded.gather(1, columns), columns


def _search(queries: Tensor, gallery: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The lowest inner product among the k largest of each query (Q,), and their ids, ascending (Q, k)."""
    faiss = _faiss()
    x, y = queries.numpy(), gallery.numpy()
    if k <= _GPU_MAX_K and _gpu_works():
        tiles = {"vectorsMemoryLimit": _GPU_TILE_BYTES, "queriesMemoryLimit": _GPU_TILE_BYTES}
        products, ids = faiss.knn_gpu(_gpu_resources(), x, y, k, metric=faiss.METRIC_INNER_PRODUCT, **tiles)
    else:
        faiss.omp_set_num_threads(torch.get_num_threads())
        products, ids = faiss.knn(x, y, k, metric=faiss.METRIC_INNER_PRODUCT)
    # Ascending ids make a stable sort by score break ties by id.
    return torch.from_numpy(products.min(axis=1)), torch.from_numpy(np.sort(ids, axis=1))


def _rescored(queries: Tensor, gallery: Tensor, ids: Tensor) -> Tensor:
    """Inner products (Q, k) of each query with the gallery rows `ids` (Q, k)."""
    scores = torch.empty(ids.shape, dtype=torch.float64)
    step = max(1, _CHUNK // (ids.shape[1] * queries.shape[1]))
    for start in range(0, len(ids), step):
        rows = slice(start, start + step)
        scores[rows] = gallery[ids[rows]].mul_(queries[rows, None]).sum(dim=2)
    return scores


def _exhaustive(queries: Tensor, gallery: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Every pair scored: for small galleries, and for queries with more ties than were fetched."""
    step = max(1, _CHUNK // len(gallery))
    tops = [_top(queries[start : start + step] @ gallery.T, k) for start in range(0, len(queries), step)]
    return torch.cat([cosines for cosines, _ in tops]), torch.cat([ids for _, ids in tops])


@functools.cache
def _faiss() -> Any:
    # torch is imported above, before faiss: both bring a CUDA runtime, and this order is the one that works.
    import faiss

    return faiss


@functools.cache
def _gpu_resources() -> Any:
    return _faiss().StandardGpuResources()


@functools.cache
def _gpu_works() -> bool:
    """Without a GPU, or with one it cannot drive, faiss aborts the process: try in another one first."""
    if _faiss().get_num_gpus() == 0:
        return False
    return subprocess.run([sys.executable, "-c", _SMOKE_TEST], capture_output=True, timeout=120).returncode == 0
