"""Puts the data set and the user's files into the store, so that each machine of a run fetches them once."""

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from benchmark.data import SLOW_S, Dataset, ImageData, cache


class Blobs(Protocol):
    """The part of the store that holds files by the sha256 of their content."""

    def has_blob(self, sha256: str) -> bool: ...
    def put_blob(self, sha256: str, path: Path) -> None: ...


def send(store: Blobs, data_set: Dataset, images: ImageData, files: Iterable[tuple[str, str]], joined: bool) -> str:
    """Put the data set and files into the store; returns the decoded data set's sha256, or "" if no machine needs it.

    files: (sha256, path) of the files that trials name. joined: the workers are on other machines than this.
    Raises ValueError for a file that has changed since it was planned with, OSError.
    """
    if not joined:
        if images.read_s > SLOW_S and not data_set.IN_PACKAGE:
            with contextlib.suppress(OSError):  # then every worker decodes it
                cache.keep(data_set, images)
        return ""
    for sha256, path in files:
        if not store.has_blob(sha256):
            store.put_blob(sha256, Path(path))
    if data_set.IN_PACKAGE:
        return ""
    path_of_data = cache.keep(data_set, images)
    sha256 = cache.digest(path_of_data)
    if not store.has_blob(sha256):
        store.put_blob(sha256, path_of_data)
    return sha256
