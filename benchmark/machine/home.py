"""Gives the process a user name and a home folder where it has none, as in containers that run as unknown users."""

import contextlib
import os
import pwd
import stat
import tempfile
from pathlib import Path

from benchmark.machine.durable_files import existing

_NAME = "robust-or-private"
_WHO = ("LOGNAME", "USER", "LNAME", "USERNAME")


def settle() -> None:
    """Put a name and a home into the environment if there are none: libraries ask for both, and workers inherit them.

    Raises ValueError if there is no place for a home.
    """
    if os.environ.get("HOME") == "":
        del os.environ["HOME"]
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        if not any(os.environ.get(name) for name in _WHO):
            os.environ["USER"] = f"user{os.getuid()}"
        if "HOME" not in os.environ:
            os.environ["HOME"] = str(_private_folder())


def cache_folder() -> Path:
    """Where downloads and what all workers of this machine share go: XDG_CACHE_HOME, or .cache at home.

    Where that cannot be written, a folder of the user's own among the temporary ones. Raises ValueError if there is
    none.
    """
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    with contextlib.suppress(RuntimeError, OSError):  # no home; a home that is another user's, as under `docker -u`
        folder = (given if given.is_absolute() else Path.home().absolute() / ".cache") / _NAME
        if os.access(existing(folder), os.W_OK | os.X_OK):
            return folder
    return _private_folder() / ".cache" / _NAME


def _private_folder() -> Path:
    path = Path(tempfile.gettempdir()) / f"{_NAME}-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        allowed = "HOME=FOLDER or XDG_CACHE_HOME=FOLDER, which you may write to"
        raise ValueError(f"there is no home folder, and {str(path)!r} is another user's; allowed: {allowed}")
    return path
