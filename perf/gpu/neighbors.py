"""100,000 queries against 1,000,000, exactly: seconds, shares of the GPU's ceilings, and whether the CPU agrees."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from benchmark.neighbors import cosine_knn, with_torch
from benchmark.neighbors.backends import chosen
from benchmark.neighbors.scoring import SPARE, normalized
from perf.gpu.speed import ceiling, seconds

Search = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]


def measure(device: str, tiny: bool) -> Iterator[dict[str, Any]]:
    """Of random vectors, made on the device; the CPU gets a copy, as a full search there takes minutes."""
    num_queries, num_gallery, width, k, few = (100, 1_000, 32, 10, 20) if tiny else (100_000, 1_000_000, 512, 50, 500)
    product = ceiling(device, torch.float32, 256 if tiny else 8192)
    yield {"what": "ceiling: float32 products of square matrices", "TFLOP/s": product / 1e12}
    bandwidth = _bandwidth(device, 1 << 20 if tiny else 1 << 30)
    yield {"what": "ceiling: bytes read and written by a copy", "GB/s": bandwidth / 1e9}
    generator = torch.Generator(device).manual_seed(0)
    queries, gallery = (torch.randn(n, width, device=device, generator=generator) for n in (num_queries, num_gallery))
    gallery[-num_gallery // 100 :] = gallery[: num_gallery // 100].clone()  # for ties, far apart
    n = f"{num_queries} x {num_gallery} x {width}, k {k}"
    found = {}
    for name, search in _searches(device).items():
        took, found[name] = _timed(search, queries, gallery, k, device)
        shares = _shares(took, num_queries, num_gallery, width, k, product, bandwidth)
        yield {"what": name, "seconds": took, **shares, **_memory(device), "n": n}
    yield _proposals(queries, gallery, k, device, product)
    rows, all_rows, ids = queries[:few].cpu(), gallery.cpu(), {}
    took = seconds(lambda: ids.update(cpu=cosine_knn(rows, all_rows, k, "cpu")[1]), "cpu")
    line = chosen("cpu").line
    yield {"what": f"the first {few} queries by {line}", "seconds": took, "n": f"{few} x {num_gallery}, k {k}"}
    for name, (_, theirs) in found.items():
        same = float((theirs[:few] == ids["cpu"]).double().mean())
        yield {"what": f"{name}: share of equal ids {same:.6f}", "n": few * k}


def _searches(device: str) -> dict[str, Search]:
    """As the benchmark searches on the device; and, where that is faiss, by torch."""
    engine = chosen(device)
    searches: dict[str, Search] = {f"cosine_knn, {engine.line}": lambda q, g, k: cosine_knn(q, g, k, device)}
    if engine.by_faiss:
        searches[f"by torch on {device}"] = lambda q, g, k: with_torch.knn(q, g, k, torch.device(device))
    return searches


def _timed(
    search: Search, queries: Tensor, gallery: Tensor, k: int, device: str
) -> tuple[float, tuple[Tensor, Tensor]]:
    """Seconds of one search, after a small one that loads kernels."""
    search(queries[:64], gallery[:4096], k)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    found = {}
    took = seconds(lambda: found.update(it=search(queries, gallery, k)), device)
    return took, found["it"]


def _shares(
    took: float, num_queries: int, num_gallery: int, width: int, k: int, product: float, bandwidth: float
) -> dict[str, float]:
    """Bytes: the gallery in float32 once for a block of queries; and, as products are kept, those written and read."""
    operations = 2 * num_queries * num_gallery * width
    passes = math.ceil(num_queries / with_torch.queries_at_once(num_gallery, width, k))
    read = 4 * width * (passes * num_gallery + num_queries)
    return {
        "TFLOP/s": operations / took / 1e12,
        "share of its ceiling": operations / took / product,
        "share of the bandwidth limit": read / bandwidth / took,
        "with products": (read + 8 * num_queries * num_gallery) / bandwidth / took,
    }


def _proposals(queries: Tensor, gallery: Tensor, k: int, device: str, product: float) -> dict[str, Any]:
    """Products and top-k of one block: what is left of a search is copies, normalizing and scoring in float64."""
    block = queries[: with_torch.queries_at_once(len(gallery), gallery.shape[1], k)]
    x, y = normalized(block).float(), gallery / gallery.norm(dim=1, keepdim=True)
    with_torch.proposed(x, y[: 1 << 16], k + SPARE)
    took = seconds(lambda: with_torch.proposed(x, y, k + SPARE), device)
    rate = 2 * len(x) * gallery.numel() / took
    what = "of that, products and top-k of torch for one block of queries"
    return {"what": what, "seconds": took, "TFLOP/s": rate / 1e12, "share of its ceiling": rate / product, "n": len(x)}


def _bandwidth(device: str, size: int) -> float:
    """Bytes a second that a copy reads and writes; the best of five."""
    x = torch.zeros(size // 4, device=device)
    y = torch.empty_like(x)
    y.copy_(x)
    return 2 * size / min(seconds(lambda: y.copy_(x), device) for _ in range(5))


def _memory(device: str) -> dict[str, float]:
    """Of the search and the data, at their peak."""
    return {"GiB": torch.cuda.max_memory_allocated() / 2**30} if device == "cuda" else {}
