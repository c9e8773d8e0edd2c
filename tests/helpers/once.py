"""What is dear to make is made once for all test processes that run side by side."""

import fcntl
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

Made = TypeVar("Made")


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """One folder for all processes of this call of pytest."""
    own = factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own  # pytest-xdist: a folder a worker, side by side


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Made]) -> Made:
    """What `make(folder)` returns, made by the first process that asks; the others wait for it.

    name: of the folder, the same in all processes. What is made has to be picklable; nobody may write into the folder
    afterwards. Where `make` raises, the next process that asks tries it anew, in another folder.
    """
    place = shared_folder(factory)
    kept = place / f"{name}.pickle"
    with (place / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # given back by the kernel, also when this process is killed
        if not kept.exists():
            made = make(factory.mktemp(name))
            unfinished = kept.with_suffix(".unfinished")
            unfinished.write_bytes(pickle.dumps(made))
            unfinished.rename(kept)
        found: Made = pickle.loads(kept.read_bytes())
    return found
