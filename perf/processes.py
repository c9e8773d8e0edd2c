"""A process for every contender, so that the settings of one library reach no other."""

import functools
import gc
import multiprocessing
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

import torch

from benchmark.machine.freed_memory import keep_freed_memory
from perf.measure import Timings

_SPAWN = multiprocessing.get_context("spawn")


class Contender:
    """Runs work in a process of its own and times it there.

    keeps_memory: the process keeps freed memory, as every trial of `bench run` does; a library that leaves the
    allocator alone runs with False.
    """

    def __init__(self, threads: int, keeps_memory: bool) -> None:
        self._connection, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_serve, args=(theirs, threads, keeps_memory), daemon=True)
        self._process.start()
        theirs.close()

    def run(self, work: Callable[[], Any]) -> tuple[float, float, Any]:
        """Wall seconds, processor seconds and result of `work`, which must be picklable."""
        self._connection.send(work)
        found = self._connection.recv()
        if isinstance(found, Exception):
            raise found
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        self._process.join(10)
        self._process.kill()


def _serve(connection: "Connection[Any, Any]", threads: int, keeps_memory: bool) -> None:
    torch.set_num_threads(threads)
    if keeps_memory:
        keep_freed_memory()
    while True:
        try:
            work = connection.recv()
        except EOFError:
            return
        gc.collect()
        try:
            wall, cpu = time.perf_counter(), time.process_time()
            result = work()
            connection.send((time.perf_counter() - wall, time.process_time() - cpu, result))
        except Exception as error:
            connection.send(error)


def interleaved(
    work: Mapping[str, tuple[Contender, functools.partial[Any]]], rounds: int
) -> tuple[dict[str, Timings], dict[str, Any]]:
    """A B C D A B C D ...: what slows the machine for a while slows all of them. The first round is not kept.

    Returns the times of each contender and the result of its last run.
    """
    times = {name: Timings() for name in work}
    results: dict[str, Any] = {}
    for number in range(rounds + 1):
        for name, (contender, call) in work.items():
            wall, cpu, results[name] = contender.run(call)
            if number:
                times[name].wall.append(wall)
                times[name].cpu.append(cpu)
    return times, results
