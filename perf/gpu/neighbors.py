"""Exact nearest neighbors as the benchmark searches them, beside one matrix product and top-k of torch."""

import time
from typing import Any

import torch

from benchmark.neighbors import backend, cosine_knn


def measure(device: str, tiny: bool) -> list[dict[str, Any]]:
    num_queries, num_gallery, width, k = (100, 1_000, 32, 10) if tiny else (2_000, 60_000, 512, 50)
    generator = torch.Generator().manual_seed(0)
    queries, gallery = (torch.randn(n, width, generator=generator) for n in (num_queries, num_gallery))
    begin = time.perf_counter()
    _, ids = cosine_knn(queries, gallery, k)
    ours = time.perf_counter() - begin
    begin = time.perf_counter()
    found = _by_torch(queries.to(device), gallery.to(device), k)
    theirs = time.perf_counter() - begin
    begin = time.perf_counter()
    _by_torch(queries.to(device), gallery.to(device), k)
    again = time.perf_counter() - begin
    same = float((ids.sort(1).values == found.sort(1).values).double().mean())
    n = f"{num_queries} x {num_gallery} x {width}, k {k}"
    return [
        {"what": f"cosine_knn, {backend()}", "seconds": ours, "n": n},
        {"what": f"matrix product and top-k of torch on {device}, first call", "seconds": theirs, "n": n},
        {"what": f"the same again; share of equal ids {same:.6f}", "seconds": again, "n": n},
    ]


def _by_torch(queries: torch.Tensor, gallery: torch.Tensor, k: int) -> torch.Tensor:
    units = [torch.nn.functional.normalize(x) for x in (queries, gallery)]
    return (units[0] @ units[1].T).topk(k).indices.cpu()
