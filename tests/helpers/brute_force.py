"""Nearest neighbors by their definition."""

import torch
from torch import Tensor


def nearest(queries: Tensor, gallery: Tensor, k: int) -> tuple[list[list[float]], list[list[int]]]:
    """In plain Python: every cosine, sorted by (-cosine, id)."""
    cosines, ids = [], []
    for q in queries.double():
        row = []
        for g in gallery.double():
            norms = float(q.norm() * g.norm())
            row.append(float(torch.tensor(float(q @ g) / norms if norms > 0 else 0.0, dtype=torch.float32)))
        order = sorted(range(len(row)), key=lambda i: (-row[i], i))[:k]
        cosines.append([row[i] for i in order])
        ids.append(order)
    return cosines, ids
