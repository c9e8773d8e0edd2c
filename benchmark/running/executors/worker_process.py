"""A process of this machine that runs trials for the local executor: how it starts, and what it does until it ends.

On Linux it is forked from a process that has loaded torch and done nothing else (Python's fork server): it starts at
once, and all workers share the memory of what is loaded. Elsewhere it is a new process: macOS cannot fork a process
that has used its frameworks, and Windows none. Never is it a fork of the driver: that hangs after a FAISS search, and
has no CUDA.
"""

import contextlib
import importlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from typing import TypeAlias

from benchmark.running.executors import Finished
from benchmark.trials.trial import Settings, Trial

SPAWN = multiprocessing.get_context("spawn")
_HAS_FORK_SERVER = sys.platform == "linux"
_OF_OTHERS = ("safetensors.torch", "pyarrow.parquet", "pandas")  # pyarrow loads pandas when it makes a table of arrays
_OURS = "benchmark.running.executors.worker"
_SAFE_PATH, _SET_HERE = "PYTHONSAFEPATH", "at the start of a worker"
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

_server_threads: list[int] = []
"""The number of threads that the fork server's libraries were loaded for; empty before it runs."""

Trials: TypeAlias = "Connection[tuple[Trial, Settings], Finished]"


def start(threads: int) -> tuple[BaseProcess, Trials]:
    """A new worker whose libraries compute in `threads` threads, and the pipe that takes trials and gives reports."""
    context = _context(threads)
    ours, theirs = context.Pipe()
    with _environment(threads) as usual:
        arguments = (theirs, threads, usual)
        process = context.Process(target=_serve, args=arguments, daemon=True, name="bench-worker")
        resource_tracker.ensure_running()  # a process too; it unblocks all signals when it starts
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # in the worker as well, until it ignores it
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    theirs.close()  # so that the worker's death closes the pipe
    return process, ours


def _context(threads: int) -> SpawnContext | ForkServerContext:
    if not _HAS_FORK_SERVER or _server_threads not in ([], [threads]):
        return SPAWN
    _server_threads[:] = [threads]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_OF_OTHERS))  # none of ours: it does not look where the driver looks
    return context


@contextlib.contextmanager
def _environment(threads: int) -> Iterator[dict[str, str]]:
    """That of a process that starts now; yields the usual one.

    It must not take modules from the current folder, where it would look first until it knows where the driver looks.
    """
    usual = dict(os.environ)
    os.environ.setdefault(_SAFE_PATH, _SET_HERE)
    os.environ.update(dict.fromkeys(_THREADS, str(threads)))
    try:
        yield usual
    finally:
        for name in (_SAFE_PATH, *_THREADS):
            os.environ.pop(name)
        os.environ.update(usual)


def _serve(connection: "Connection[Finished, tuple[Trial, Settings]]", threads: int, usual: Mapping[str, str]) -> None:
    """Body of a worker: trials in, reports out, until the pipe closes. usual: the driver's environment."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the driver decides
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    os.environ.clear()  # of the fork server, which may have started under another
    os.environ.update({**usual, **dict.fromkeys(_THREADS, str(threads))})
    logging.getLogger("benchmark").setLevel(logging.ERROR)  # that a store is silent says the driver
    threading.Thread(target=_die_with_parent, daemon=True).start()
    preload()
    while True:
        try:
            trial, settings = connection.recv()
        except EOFError:
            return
        from benchmark.running.executors.worker import run_trial

        connection.send(run_trial(trial, settings))


def preload() -> None:
    """Load the libraries, and our worker with them, before the first trial comes; a fork has most of them already."""
    with contextlib.suppress(ImportError):  # the first trial fails on it, with its traceback
        for module in (*_OF_OTHERS, _OURS):
            importlib.import_module(module)


def _die_with_parent() -> None:
    """Leave when the driver is gone, even if it was killed and a trial runs."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    sentinels: Sequence[int] = [parent.sentinel]
    wait(sentinels)
    os._exit(1)
