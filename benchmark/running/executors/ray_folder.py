"""The folder in which Ray on this machine keeps its sockets and logs: made for one driver, removed with it."""

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path
from typing import Self

_PREFIX = "bench-ray-"
_LOCK = "lock"
_SOCKET = "/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"
_LONGEST_SOCKET = 107
_NEEDED_BYTES = 32 * 2**20
"""Ray writes about 2 MiB at its start, and logs."""
_UNFINISHED_S = 3600.0
ADVICE = "allowed: TMPDIR=FOLDER with a short path and room, or --executor local"


class RayFolder:
    """Made at the start of Ray, removed at its end. A killed driver's is removed by the next one that starts.

    path: for `_temp_dir` of `ray.init`. A lock on a file in it says that its driver lives: it ends with the process,
    however that ends.
    """

    def __init__(self, path: Path, lock: int) -> None:
        self.path, self._lock = path, lock

    @classmethod
    def make(cls) -> Self:
        """In RAY_TMPDIR if it is set; else in TMPDIR, or in /tmp where that is full, or too long for a socket.

        Raises ValueError, in one line, where there is no place for one.
        """
        if given := os.environ.get("RAY_TMPDIR"):
            places = {given: "RAY_TMPDIR"}
        else:
            places = {"/tmp": "TMPDIR"}
            with contextlib.suppress(OSError):  # Python has found no place for any file
                places = {tempfile.gettempdir(): "TMPDIR"} | places
        reasons = []
        for place, name in places.items():
            try:
                _clear(Path(place))
                return cls._in(Path(place).absolute())
            except OSError as error:
                reasons.append(f"{name}: Ray cannot keep its files in {place!r} ({error.strerror})")
        raise ValueError(f"{'; '.join(reasons)}; {ADVICE}")

    @classmethod
    def _in(cls, base: Path) -> Self:
        path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
        try:
            too_long, free = len(f"{path}{_SOCKET}") - _LONGEST_SOCKET, shutil.disk_usage(path).free
            if too_long > 0:
                raise OSError(errno.ENAMETOOLONG, f"its path is {too_long} characters too long for a socket")
            if free < _NEEDED_BYTES:
                needed = f"{_NEEDED_BYTES / 2**20:.0f} are needed"
                raise OSError(errno.ENOSPC, f"{free / 2**20:.1f} MiB are free, {needed}")
            lock = os.open(path / ".lock", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            (path / ".lock").rename(path / _LOCK)  # whoever finds it finds it locked
        except OSError:
            shutil.rmtree(path, ignore_errors=True)
            raise
        return cls(path, lock)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.close(self._lock)


def _clear(base: Path) -> None:
    """Remove this user's folders whose driver is dead."""
    for path in base.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # another driver is removing it, or it is locked
            status = path.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
                continue
            if not (path / _LOCK).exists():  # killed while it was made, or not made yet
                if time.time() - status.st_mtime > _UNFINISHED_S:
                    shutil.rmtree(path, ignore_errors=True)
                continue
            lock = os.open(path / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)
