"""What runs trials. Executors pass keys and settings; the store carries the data."""

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from benchmark.trial import Settings, Trial


@dataclass(frozen=True)
class Finished:
    """How one submission of a trial ended. Small: the results are in the store.

    wall_s: seconds of the trial's own work. gpu_s: the part of it that held a GPU.
    error: traceback or reason, empty if it went well.
    system: the worker was lost (killed, out of memory, node gone); the trial may be tried again.
    corrupt: key of the parent whose artifact could not be read, else empty.
    full: the disk of the store is full; `error` is the line for the user.
    host: the machine it ran on, as in the rows' provenance; empty where nobody knows.
    """

    key: str
    wall_s: float = 0.0
    gpu_s: float = 0.0
    error: str = ""
    system: bool = False
    corrupt: str = ""
    full: bool = False
    host: str = ""

    @property
    def ok(self) -> bool:
        return not self.error


class Executor(Protocol):
    """Runs trials side by side. Use as a context manager: leaving it ends the workers."""

    @property
    def slots(self) -> int:
        """Trials that can run at the same time now; a growing cluster raises it."""
        ...

    def submit(self, trial: Trial) -> None:
        """Queue a trial; returns at once."""
        ...

    def wait(self, timeout: float | None = None) -> list[Finished]:
        """Trials that ended since the last call; waits for one, at most `timeout` seconds."""
        ...

    def close(self) -> None:
        """End the workers; trials that still run are dropped."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


ExecutorFactory = Callable[[Settings], Executor]
