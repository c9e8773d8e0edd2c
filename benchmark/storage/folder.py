"""Keeps results in a local or NFS folder: each file is written beside, forced to disk and renamed into place."""

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

from benchmark.machine.durable_files import StoreFull, is_full, replace_file, sync_folder, write_new
from benchmark.storage import MOST_BYTES, Leaf, TooLarge, Tree, Version

_CHUNK = 2**20
_LOCK_S = 60.0
"""A lock this old belongs to a killed process: it is held for a read and a write."""


class Folder:
    """Results in a folder. No name leads out of it: links in the results folder are never followed."""

    parallel = 1

    def __init__(self, root: Path) -> None:
        self.root: Path = root

    def prepare(self) -> None:
        probe = self.root / f".probe.{uuid.uuid4().hex}.tmp"
        try:
            self._path("trials").mkdir(parents=True, exist_ok=True)
            write_new(probe, b"\0" * 4096)
        except OSError as error:
            if is_full(error):
                raise StoreFull(self.root) from error
            raise ValueError(
                f"results: {str(self.root)!r} cannot be written ({error.strerror}); "
                "allowed: a folder that you may create or write to"
            ) from error
        finally:
            with contextlib.suppress(OSError):  # where it could not be written there is nothing to remove
                probe.unlink()

    def read(self, name: str, most: int = MOST_BYTES) -> bytes:
        with open(self._open(name), "rb") as file:  # noqa: PTH123
            size = os.fstat(file.fileno()).st_size
            if size > most:
                raise TooLarge(name, size, most)
            return file.read(most)

    def digest(self, name: str, most: int = 2**40) -> str:
        with open(self._open(name), "rb") as file:  # noqa: PTH123
            size = os.fstat(file.fileno()).st_size
            if size > most:
                raise TooLarge(name, size, most)
            return hashlib.file_digest(file, "sha256").hexdigest()

    def verified(self, name: str, sha256: str, most: int) -> Path | None:
        return self._path(name) if self.digest(name, most) == sha256 else None

    def write(self, name: str, content: bytes) -> None:
        replace_file(self._path(name), content)

    def create(self, name: str, content: bytes) -> bool:
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = _beside(path)
        try:
            write_new(beside, content)
            path.hardlink_to(beside)  # unlike a rename it never replaces, on NFS too
        except FileExistsError:
            return False
        except OSError as error:
            if is_full(error):
                raise StoreFull(self.root) from error
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):  # a file system without hard links
                raise
            with contextlib.suppress(FileExistsError):
                write_new(path, content)
                return True
            return False
        finally:
            beside.unlink(missing_ok=True)
        sync_folder(path.parent)
        return True

    def look(self, name: str) -> tuple[bytes, Version]:
        content = self.read(name)
        return content, hashlib.sha256(content).hexdigest()

    def swap(self, name: str, content: bytes, seen: Version) -> bool:
        path = self._path(name)
        lock = path.with_name(f".{path.name}.lock")
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW))
        except FileExistsError:
            with contextlib.suppress(FileNotFoundError):
                if time.time() - lock.lstat().st_mtime > _LOCK_S:
                    lock.unlink()  # the next one who asks gets it
            return False
        try:
            if self.look(name)[1] != seen:
                return False
            replace_file(path, content)
        except FileNotFoundError:
            return False
        finally:
            lock.unlink(missing_ok=True)
        return True

    def remove(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)

    def move(self, name: str, target: str) -> bool:
        goal = self._path(target)
        goal.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._path(name, last_may_be_link=True).rename(goal)
        except FileNotFoundError:
            return False
        return True

    def tree(self, name: str, depth: int) -> Tree:
        try:
            folder = self._path(name)
            return _tree(folder, depth) if folder.is_dir() else {}
        except FileNotFoundError:  # gone meanwhile
            return {}

    def file_name(self, name: str, sha256: str) -> str:
        return name

    def hidden(self, name: str) -> bool:
        return name.startswith(".")

    def commit(self, folder: str, files: Mapping[str, bytes], mark: str) -> None:
        final = self._path(folder)
        hidden = _beside(final)
        try:
            hidden.mkdir(parents=True)
            for name in sorted(files, key=lambda name: name == mark):
                write_new(hidden / name, files[name])
            sync_folder(hidden)
            _put_in_place(hidden, final)
        except OSError as error:
            shutil.rmtree(hidden, ignore_errors=True)
            if is_full(error):
                raise StoreFull(self.root) from error
            raise

    def clear_stale(self, older_than_s: float) -> None:
        for prefix, kind in self.tree("trials", 1).items():
            for hidden in self._path(f"trials/{prefix}").glob(".*.tmp") if not isinstance(kind, Leaf) else ():
                with contextlib.suppress(FileNotFoundError):  # its writer has just put it in place
                    if time.time() - hidden.lstat().st_mtime > older_than_s:
                        shutil.rmtree(hidden, ignore_errors=True)  # refuses a link

    def upload(self, path: Path, name: str) -> None:
        final = self._path(name)
        final.parent.mkdir(parents=True, exist_ok=True)
        beside = _beside(final)
        try:
            with path.open("rb") as source, beside.open("xb") as copy:
                shutil.copyfileobj(source, copy, _CHUNK)
                copy.flush()
                os.fsync(copy.fileno())
            beside.replace(final)
            sync_folder(final.parent)
        except OSError as error:
            beside.unlink(missing_ok=True)
            if is_full(error):
                raise StoreFull(self.root) from error
            raise

    def download(self, name: str, target: Path) -> None:
        with open(self._open(name), "rb") as source, target.open("wb") as copy:  # noqa: PTH123
            shutil.copyfileobj(source, copy, _CHUNK)

    def _path(self, name: str, last_may_be_link: bool = False) -> Path:
        """The path of a name. Raises OSError where a part of it is no plain name or a symbolic link."""
        parts = name.split("/")
        if any(part in ("", ".", "..") or "\0" in part for part in parts):
            raise OSError(errno.EINVAL, f"{name[:200]!r} is no name in a results folder")
        place = os.fspath(self.root)
        for i, part in enumerate(parts):
            place = f"{place}/{part}"
            if last_may_be_link and i == len(parts) - 1:
                break
            try:
                mode = os.lstat(place).st_mode  # noqa: PTH116
            except FileNotFoundError:
                break  # nothing below it either
            if stat.S_ISLNK(mode):
                raise OSError(errno.ELOOP, f"{name[:200]!r} goes through a symbolic link; allowed: files and folders")
        return self.root / name

    def _open(self, name: str) -> int:
        """Open a regular file for reading; neither a link nor a pipe, which would never answer."""
        descriptor = os.open(self._path(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "not a file")
        return descriptor


def _tree(folder: Path | str, depth: int) -> Tree:
    found: Tree = {}
    for entry in os.scandir(folder):
        with contextlib.suppress(FileNotFoundError):  # renamed or removed meanwhile
            if entry.is_dir(follow_symlinks=False):
                found[entry.name] = _tree(entry.path, depth - 1) if depth > 1 else {}
            else:
                status = entry.stat(follow_symlinks=False)
                odd = "a symbolic link" if entry.is_symlink() else "" if stat.S_ISREG(status.st_mode) else "no file"
                found[entry.name] = Leaf(status.st_size, status.st_mtime, odd)
    return found


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")


def _put_in_place(hidden: Path, final: Path) -> None:
    """Rename the folder to its place; an earlier result there, or that of another process, gives way."""
    earlier: list[Path] = []
    while True:
        try:
            hidden.rename(final)
            break
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            earlier.append(_beside(final))
            with contextlib.suppress(FileNotFoundError):  # the other process moved it first
                final.rename(earlier[-1])
    sync_folder(final.parent)
    for folder in earlier:
        shutil.rmtree(folder, ignore_errors=True)
