"""Finds exact nearest neighbors by cosine, on a GPU where there is one. Only `with_faiss.py` imports faiss."""

from benchmark.neighbors.backends import backend
from benchmark.neighbors.search import cosine_knn

__all__ = ["backend", "cosine_knn"]
