"""Data sets, one file each, and the cache of decoded images. Who is a member is in `data/members`."""

import functools
import time
from dataclasses import replace
from pathlib import Path

from benchmark import registry
from benchmark.data import cache
from benchmark.data.images import Dataset, ImageData
from benchmark.spec import Spec, SpecError
from benchmark.user_files import include
from benchmark.user_files.returned import described

__all__ = ["SLOW_S", "Dataset", "ImageData", "load", "planned"]

SLOW_S = 2.0
"""What takes longer to read is kept decoded, so that the workers of this machine need not all do it again."""
_HELD: dict[Path, ImageData] = {}
_MOST_HELD = 2


@functools.lru_cache(maxsize=2)
def load(spec: Spec, root: str | None) -> ImageData:
    """The images of a data set, read once a process. root: folder to look in first.

    Raises ValueError, in one line, if files are missing or damaged.
    """
    assert isinstance(spec, Dataset), f"{type(spec).__name__} is not a data set"
    begin = time.monotonic()
    try:
        images: object = spec.load(Path(root) if root is not None else None)
    except SpecError as error:
        if not include.path_of(spec):
            raise
        raise SpecError(f"{registry.titled('data', spec)}: {error}") from error
    if not isinstance(images, ImageData):
        name = registry.titled("data", spec)
        raise SpecError(f"{name}: load returned {described(images)}; allowed: an ImageData")
    return replace(images, read_s=time.monotonic() - begin)


def planned(
    spec: Spec, root: str | None, fingerprint: str, decoded: str = "", fetch: cache.Fetch | None = None
) -> ImageData:
    """The data set with this fingerprint, once a process: decoded by another process of this machine, or from files.

    decoded, fetch: of a run on several machines: sha256 of the decoded data set in the results store, and how to get
    it, for machines that have no such files. Then one process of each machine decodes or fetches, for all.
    Raises ValueError, in one line, if there are no such images.
    """
    assert isinstance(spec, Dataset), f"{type(spec).__name__} is not a data set"
    if spec.IN_PACKAGE:
        return _checked(load(spec, root), fingerprint)
    path = cache.place(spec, fingerprint)
    if path not in _HELD:
        images = cache.mapped(path, fingerprint)
        if images is None and decoded and fetch is not None:
            images = _for_all(spec, root, path, fingerprint, decoded, fetch)
        if images is None:  # as quick to read as to map
            return _checked(load(spec, root), fingerprint)
        while len(_HELD) >= _MOST_HELD:
            _HELD.pop(next(iter(_HELD)))
        _HELD[path] = images
    return _HELD[path]


def _for_all(
    spec: Dataset, root: str | None, path: Path, fingerprint: str, decoded: str, fetch: cache.Fetch
) -> ImageData:
    """Put the decoded data set at `path`, from this machine's own files or from the store, and map it."""
    with cache.lock(path.with_name(f"{path.name}.making")):
        images = cache.mapped(path, fingerprint)  # another worker may just have done it
        if images is not None:
            return images
        try:
            cache.keep(spec, _checked(spec.load(Path(root) if root is not None else None), fingerprint))
        except (ValueError, OSError) as error:
            try:
                fetch(decoded, path)
            except (ValueError, OSError) as problem:
                raise ValueError(f"{error}; nor does it come from the results ({problem})") from problem
            cache.prune(path)
        images = cache.mapped(path, fingerprint)
    if images is None:
        raise ValueError(f"data: {str(path)!r} cannot be read back; allowed: a cache folder on a disk that works")
    return images


def _checked(images: ImageData, fingerprint: str) -> ImageData:
    if images.fingerprint != fingerprint:
        raise ValueError(
            f"data: this machine's copy has fingerprint {images.fingerprint[:12]}; allowed: "
            f"{fingerprint[:12]}, the content the suite was planned with"
        )
    return images
