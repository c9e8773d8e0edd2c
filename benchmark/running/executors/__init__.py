"""Executors run trials side by side: in local processes, or on Ray. They pass keys; the data is in the store."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from benchmark.trials.trial import Settings, Trial

Loss = Literal["", "worker", "exit", "node", "memory", "gpu_memory"]
"""Why a trial gave no report: its process died; its process left by itself, as it would each time; its whole machine
died, which is not the trial's fault; the machine had no memory left, and Ray ended the trial; the GPU, or the trial's
share of it, had none left."""


@dataclass(frozen=True)
class Room:
    """What a trial holds beyond its usual share, once it ran out of memory.

    whole_gpu: instead of a part of one. times_threads: how many times its CPUs, so that fewer run beside it.
    """

    whole_gpu: bool = False
    times_threads: int = 1


USUAL = Room()
REPORTED = ("device", "host", "threads", "wall_s", "gpu_s", "gpus", "gpu_utilisation", "gpu_memory_bytes")
"""Columns of `schema.PROVENANCE` that a worker reports of a finished trial."""


@dataclass(frozen=True)
class Finished:
    """How one submission of a trial ended. Small: the results are in the store.

    wall_s: seconds of the trial's own work. gpu_s: the part of it that held a GPU.
    error: traceback or reason, empty if it went well.
    loss: why it may be tried again, see `running/retries.py`, else empty.
    corrupt: key of the parent whose artifact could not be read, else empty.
    full: the disk of the store is full; `error` is the line for the user.
    elsewhere: another driver runs it now, or has just finished it; it was not computed, and nothing went wrong.
    host: the machine it ran on, as in the rows' provenance; empty where nobody knows.
    made: what else of the provenance is for the bill and for people (`REPORTED`); empty if it did not go well.
    signature: of the trial's folder as it was written, see `results/trial_index.py`; empty if unknown.
    """

    key: str
    wall_s: float = 0.0
    gpu_s: float = 0.0
    error: str = ""
    loss: Loss = ""
    corrupt: str = ""
    full: bool = False
    elsewhere: Literal["", "running", "done"] = ""
    host: str = ""
    made: Mapping[str, Any] = field(default_factory=dict)
    signature: bytes = b""

    @property
    def ok(self) -> bool:
        return not self.error


class Executor(Protocol):
    """Runs trials side by side. Use as a context manager: leaving it ends the workers."""

    @property
    def slots(self) -> int:
        """Trials that can run at the same time now; a growing cluster raises it."""
        ...

    def wants(self, trial: Trial) -> bool:
        """Should this trial be submitted now? Yes while it can start at once, or few of its kind wait.

        Trials on a GPU and trials beside it are two kinds, so that neither keeps the other from its processors.
        """
        ...

    def submit(self, trial: Trial, room: Room = USUAL) -> None:
        """Queue a trial; returns at once."""
        ...

    def wait(self, timeout: float | None = None) -> list[Finished]:
        """Trials that ended since the last call; waits for one, at most `timeout` seconds."""
        ...

    def close(self) -> None:
        """End the workers; trials that still run are dropped."""
        ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


ExecutorFactory = Callable[[Settings], Executor]
Name = Literal["in_process", "local", "ray"]


def factory(name: Name, slots: int = 0, address: str | None = None) -> ExecutorFactory:
    """What starts an executor, whose module is loaded only then.

    slots: trials side by side; 0: as many as the machine has room for. address: of a Ray cluster to join; None: start
    Ray on this machine. The function raises ValueError where Ray is asked for and cannot be imported.
    """

    def start(settings: Settings) -> Executor:
        if name == "in_process":
            from benchmark.running.executors.in_process import InProcessExecutor

            return InProcessExecutor(settings)
        if name == "local":
            from benchmark.running.executors.local import LocalExecutor

            return LocalExecutor(settings, slots)
        from benchmark.running.executors.ray import RayExecutor

        try:
            return RayExecutor(settings, slots, address)
        except ImportError as error:
            advice = "allowed: executor 'local', or pip install 'ray[tune]'"
            raise ValueError(f"Ray cannot be imported ({error}); {advice}") from error

    return start
