"""Proposes candidates with faiss, on the CPU or on a GPU. The only module that imports faiss."""

import functools
import subprocess
import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.neighbors.scoring import Proposals

GPU_MAX_K = 2048
_GPU_TILE_BYTES = 1 << 30
_SMOKE_TEST = """
import torch, faiss, numpy as np
x = np.eye(8, dtype=np.float32)
_, ids = faiss.knn_gpu(faiss.StandardGpuResources(), x, x, 1, metric=faiss.METRIC_INNER_PRODUCT)
assert (ids[:, 0] == np.arange(8)).all()
"""


def version() -> str | None:
    """None where faiss is not installed."""
    faiss = _faiss()
    return None if faiss is None else str(faiss.__version__)


def num_gpus() -> int:
    """GPUs that faiss sees, whether it can search there or not."""
    return 0 if _faiss() is None else int(_faiss().get_num_gpus())


@functools.cache
def gpu_works() -> bool:
    """Without a GPU, or with one it cannot drive, faiss aborts the process: try in another one first."""
    if num_gpus() == 0:
        return False
    return subprocess.run([sys.executable, "-c", _SMOKE_TEST], capture_output=True, timeout=120).returncode == 0


def proposed(queries: Tensor, gallery: Tensor, fetch: int, gpu: int | None) -> Proposals:
    """The `fetch` largest inner products of each query (Q, D) float32 with the gallery (G, D) float32, on the CPU.

    gpu: the one to search on, which takes at most GPU_MAX_K; None for the CPU, with as many threads as torch has.
    """
    faiss = _faiss()
    x, y = queries.cpu().numpy(), gallery.cpu().numpy()
    if gpu is None:
        faiss.omp_set_num_threads(torch.get_num_threads())
        products, ids = faiss.knn(x, y, fetch, metric=faiss.METRIC_INNER_PRODUCT)
    else:
        limits = {"vectorsMemoryLimit": _GPU_TILE_BYTES, "queriesMemoryLimit": _GPU_TILE_BYTES}
        how = {"metric": faiss.METRIC_INNER_PRODUCT, "device": gpu, **limits}
        products, ids = faiss.knn_gpu(_gpu_resources(), x, y, fetch, **how)
    # Ascending ids make a stable sort by score break ties by id.
    return Proposals(torch.from_numpy(products.min(axis=1)), torch.from_numpy(np.sort(ids, axis=1)))


@functools.cache
def _faiss() -> Any:
    # torch is imported above, before faiss: both bring a CUDA runtime, and this order is the one that works.
    try:
        import faiss
    except ImportError:
        return None
    return faiss


@functools.cache
def _gpu_resources() -> Any:
    return _faiss().StandardGpuResources()
