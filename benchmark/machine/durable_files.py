"""Files that survive a crash: written beside, forced to disk, renamed into place."""

import errno
import os
import shutil
import uuid
from pathlib import Path


class StoreFull(ValueError):
    """The disk of the results folder is full. `str()` is one line for the user."""

    def __init__(self, folder: Path | str) -> None:
        free = shutil.disk_usage(existing(Path(folder))).free
        super().__init__(
            f"results: the disk of {str(folder)!r} is full ({free} bytes free, or the quota is used up); "
            "make room and run again: finished trials are kept"
        )


def is_full(error: OSError) -> bool:
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def sync_folder(folder: Path) -> None:
    """Force the names in `folder` to disk; without it a rename may be lost with the power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_new(path: Path, content: bytes) -> None:
    """Write a file that nobody reads yet and force it to disk. Raises OSError."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: Path, content: bytes) -> None:
    """Put `content` at `path`: a reader sees the old file or the new one, never a part.

    Raises StoreFull where the disk is full, OSError for the rest.
    """
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_new(beside, content)
        beside.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        beside.unlink(missing_ok=True)
        if is_full(error):
            raise StoreFull(path.parent) from error
        raise


def existing(folder: Path) -> Path:
    """The nearest folder above (or at) `folder` that exists."""
    return next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
