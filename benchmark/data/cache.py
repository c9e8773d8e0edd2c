"""Caches decoded data sets and fetched files on this machine, shared by all its workers.

`decoded/*.safetensors` and `files/*` in the cache folder, each put there once, under a lock, and mapped by whoever
reads it, so that the workers of a machine share its memory.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from benchmark import registry
from benchmark.data.formats.files import cache_folder
from benchmark.data.images import Dataset, ImageData
from benchmark.storage.checksum import is_sealed, seal

LIMIT_BYTES = 20 * 2**30
"""What has lain unused for longest goes when there is more."""
_KINDS = ("decoded", "files")
Fetch = Callable[[str, Path], None]
"""(sha256, path): put the file of this content there. Raises OSError, ValueError."""


def place(data_set: Dataset, fingerprint: str) -> Path:
    """The file of a decoded data set, whether it exists or not. Its name depends on the settings and VERSION too."""
    identity = registry.canonical(registry.dump("data", data_set))
    settings = hashlib.sha256(identity.encode()).hexdigest()
    return cache_folder() / "decoded" / f"{fingerprint}-{settings[:16]}.safetensors"


def keep(data_set: Dataset, images: ImageData) -> Path:
    """Write a decoded data set unless the cache has it, complete; returns its file. Equal data give equal bytes.

    Raises OSError.
    """
    from safetensors.torch import save_file

    path = place(data_set, images.fingerprint)
    with lock(path):
        if mapped(path, images.fingerprint) is None:
            about = {name: getattr(images, name) for name in ("class_names", "mean", "std", "card")}
            tensors = _apart({name: getattr(images, name).contiguous() for name in _TENSORS})
            beside = _beside(path)
            try:
                # One entry: the order of several is not fixed.
                save_file(tensors, beside, {"about": seal(json.dumps(about).encode()).decode()})
                beside.replace(path)
            finally:
                beside.unlink(missing_ok=True)
            prune(path)
    return path


def mapped(path: Path, fingerprint: str) -> ImageData | None:
    """The data set that `keep` wrote; None, and no file, if it is damaged or holds other content."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            text = file.metadata()["about"].encode()
            if not is_sealed(text):  # the fingerprint says nothing of the normalisation and the names of the classes
                raise ValueError("damaged, or of a version without checksums")
            about: dict[str, Any] = json.loads(text)
            tensors = {name: file.get_tensor(name) for name in _TENSORS}
        names, mean, std = (tuple(about[name]) for name in ("class_names", "mean", "std"))
        images = ImageData(**tensors, class_names=names, mean=mean, std=std, card=str(about["card"]))
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AssertionError):
        images = None
    if images is None or images.fingerprint != fingerprint:
        path.unlink(missing_ok=True)
        return None
    with contextlib.suppress(OSError):  # of another user, on a disk that is read only
        os.utime(path)
    return images


def fetched(sha256: str, suffix: str, fetch: Fetch) -> Path:
    """A file by its content, fetched unless it is there. suffix: readers go by it. Raises OSError, ValueError."""
    path = files_folder() / f"{sha256}{suffix}"
    with lock(path):
        if not path.is_file() or digest(path) != sha256:
            fetch(sha256, path)
            prune(path)
    return path


def files_folder() -> Path:
    """Where files lie that are named by their content."""
    return cache_folder() / "files"


def put(write: Callable[[Path], None], suffix: str) -> Path:
    """Keep what `write` writes to the path that it gets, as a file named by its content. Raises OSError."""
    files_folder().mkdir(parents=True, exist_ok=True)
    beside = _beside(files_folder() / f"new{suffix}")
    try:
        write(beside)
        path = files_folder() / f"{digest(beside)}{suffix}"
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    prune(path)
    return path


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """A lock: one process of this machine at a time makes `path`. It is free again when its holder is killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def digest(path: Path) -> str:
    """sha256 of a file. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def held() -> list[Path]:
    """The files in the cache, the one used last at the end."""
    found = (path for kind in _KINDS for path in (cache_folder() / kind).glob("*") if not path.name.startswith("."))
    return sorted(found, key=lambda path: path.stat().st_mtime)


def prune(newest: Path, limit: int = LIMIT_BYTES) -> None:
    """Remove the files not used for longest, until at most `limit` bytes are left; who has one mapped keeps it."""
    paths = held()
    total = sum(path.stat().st_size for path in paths)
    for path in paths:
        if total > limit and path != newest:
            total -= path.stat().st_size
            path.unlink(missing_ok=True)


_TENSORS = ("images", "labels", "test_images", "test_labels")


def _apart(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Parts of one tensor, as copies: the format wants each to have memory of its own."""
    found: dict[str, Tensor] = {}
    memory = set()
    for name, tensor in tensors.items():
        found[name] = tensor.clone() if tensor.untyped_storage().data_ptr() in memory else tensor
        memory.add(found[name].untyped_storage().data_ptr())
    return found


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
