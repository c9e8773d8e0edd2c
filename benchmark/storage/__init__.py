"""Where the bytes of a results folder are: a local or NFS folder, or a bucket behind a URL.

Names are relative, with `/`, such as `plans/ab.json`; nothing outside the store has a name. All errors are OSError
(FileNotFoundError, TooLarge and StoreFull among them) with one line in `strerror`.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol, Union

MARK = "trial.json"
MOST_BYTES = 64 * 2**20
"""What a file of JSON may have at most; a larger one is foreign."""


@dataclass(frozen=True)
class Leaf:
    """What is no folder. modified: seconds since 1970. odd: what it is instead of a file, such as "a symbolic link"."""

    bytes: int
    modified: float
    odd: str = ""


Tree = dict[str, Union["Tree", Leaf]]
"""Name -> what is below it: a file, or a folder as a tree of its own."""

Version = str
"""Tells one content of a file from every other; see `Storage.swap`."""


class TooLarge(OSError):
    """A file is larger than anything that a run writes there."""

    def __init__(self, name: str, found: int, most: int) -> None:
        super().__init__(0, f"{found} bytes; allowed: at most {most}")
        self.filename = name


class Storage(Protocol):
    """The operations that the store is made of.

    root: what the user named, a folder as an absolute path. parallel: calls that are worth making at the same time.
    """

    @property
    def root(self) -> Path | str: ...

    @property
    def parallel(self) -> int: ...

    def prepare(self) -> None:
        """Create what need be and write a probe. Raises ValueError with one line where that fails, StoreFull."""
        ...

    def read(self, name: str, most: int = MOST_BYTES) -> bytes:
        """A whole file. Raises FileNotFoundError, TooLarge."""
        ...

    def digest(self, name: str, most: int = 2**40) -> str:
        """sha256 of a file, read in pieces. Raises FileNotFoundError, and TooLarge before it reads a larger one."""
        ...

    def verified(self, name: str, sha256: str, most: int) -> Path | bytes | None:
        """A file that hashes to `sha256`, as a path where it lies on this machine; None where it is another.

        Raises FileNotFoundError, and TooLarge before it reads a larger one.
        """
        ...

    def write(self, name: str, content: bytes) -> None:
        """Put a file there: a reader sees the old one or the new one, never a part."""
        ...

    def create(self, name: str, content: bytes) -> bool:
        """Put a file there unless there is one. Returns whether it did; of several callers one does."""
        ...

    def look(self, name: str) -> tuple[bytes, Version]:
        """A file with its version, for `swap`. Raises FileNotFoundError."""
        ...

    def swap(self, name: str, content: bytes, seen: Version) -> bool:
        """Replace the file if it is still what was seen. Returns whether it did; of several callers one does."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file; no error where there is none."""
        ...

    def move(self, name: str, target: str) -> bool:
        """Move a file, or a folder with all below it. Returns whether there was anything."""
        ...

    def tree(self, name: str, depth: int) -> Tree:
        """What lies in a folder, so many levels deep; empty if there is none. Links are told, never followed."""
        ...

    def file_name(self, name: str, sha256: str) -> str:
        """The name under which a trial's file lies in the folder of the trial."""
        ...

    def hidden(self, name: str) -> bool:
        """Whether a file or folder is one that is being written, or the system's own."""
        ...

    def commit(self, folder: str, files: Mapping[str, bytes], mark: str) -> None:
        """Write the folder of a trial so that who sees its mark sees all files, and no mixture with an earlier one.

        files: by `file_name`, among them `mark`, which names the others.
        """
        ...

    def clear_stale(self, older_than_s: float) -> None:
        """Remove what killed writers left below `trials/`, where it is so old; it was never a result."""
        ...

    def upload(self, path: Path, name: str) -> None:
        """Put a copy of a local file there, in pieces. As atomic as `write`."""
        ...

    def download(self, name: str, target: Path) -> None:
        """Write a file to a local path, in pieces. Raises FileNotFoundError."""
        ...


def is_url(place: Path | str) -> bool:
    return isinstance(place, str) and "://" in place


def open_storage(root: Path | str) -> Storage:
    """The storage at a folder or a URL. Raises ValueError for a URL that is none of the known ones."""
    if not is_url(root):
        from benchmark.storage.folder import Folder

        return Folder(Path(root).absolute())
    names = ("AWS_", "GOOGLE_", "AZURE_")
    return _bucket(str(root), os.getpid(), tuple(sorted((k, v) for k, v in os.environ.items() if k.startswith(names))))


@lru_cache(maxsize=4)
def _bucket(url: str, pid: int, environment: tuple[tuple[str, str], ...]) -> Storage:
    """One client a process, with its connections. It depends on the environment, and no client survives a fork."""
    from benchmark.storage.bucket import Bucket

    return Bucket(url)
