"""Data sets and the pools they are cut into."""

import functools
from pathlib import Path

from benchmark.data.images import Dataset, ImageData
from benchmark.spec import Spec

__all__ = ["Dataset", "ImageData", "load"]


@functools.lru_cache(maxsize=2)
def load(spec: Spec, root: str | None) -> ImageData:
    """The images of a data set, read once a process. root: folder to look in first.

    Raises ValueError, in one line, if files are missing or damaged.
    """
    assert isinstance(spec, Dataset), f"{type(spec).__name__} is not a data set"
    return spec.load(Path(root) if root is not None else None)
