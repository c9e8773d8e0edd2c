"""How often a lost trial is tried again, and with how much more room; kept by the schedule of a run.

A trial is lost when its process, its machine or its memory was. One that raised an error of its own would raise it
again, and is not retried.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from benchmark.running.executors import Finished, Loss, Room

RETRIES: Mapping[Loss, int] = {"worker": 2, "exit": 0, "node": 20, "memory": 4, "gpu_memory": 1}
"""How often a trial is tried again after each kind of loss. A machine's end says nothing about the trial."""


class Retries:
    """The attempts and losses of every trial of one run."""

    def __init__(self) -> None:
        self._attempts: Counter[str] = Counter()
        self._losses: Counter[tuple[str, Loss]] = Counter()

    def attempts(self, key: str) -> int:
        """How often the trial was started."""
        return self._attempts[key]

    def begin(self, key: str) -> Room:
        """Count an attempt; returns what it may hold: more than usual where memory was short before."""
        self._attempts[key] += 1
        return Room(whole_gpu=self._losses[key, "gpu_memory"] > 0, times_threads=2 ** self._losses[key, "memory"])

    def take_back(self, key: str) -> None:
        """The last attempt was none: another driver runs the trial."""
        self._attempts[key] -= 1

    def again(self, finished: Finished) -> bool:
        """Whether this end was a loss after which the trial is tried again; counts it if so."""
        key, loss = finished.key, finished.loss
        if not loss or self._losses[key, loss] >= RETRIES[loss]:
            return False
        self._losses[key, loss] += 1
        return True

    def explain(self, finished: Finished, label: str, stage: Mapping[str, Any]) -> str:
        """The error of a trial that is given up, with a last line that says what was lost and what helps.

        label: what the trial is called. stage: its settings.
        """
        if finished.loss == "gpu_memory":
            sizes = [f"{name} (now {size})" for name, size in batch_sizes(stage)]
            lower = f"lower {' or '.join(sizes)}, or " if sizes else ""
            last = f"{label} ran out of GPU memory, with a GPU of its own: {lower}use a GPU with more memory"
        elif finished.loss in ("worker", "exit"):
            times = self._losses[finished.key, finished.loss] + 1
            what = f"lost its process {times} times" if finished.loss == "worker" else "ended its process"
            last = f"{label} {what}: {' '.join(finished.error.split())}"
        else:
            return finished.error
        return f"{finished.error.rstrip()}\n{last}"


def batch_sizes(stage: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, int]]:
    """Every batch size among a stage's settings, with its place, such as ("attack.batch_size", 250)."""
    for name, value in stage.items():
        if name == "batch_size":
            yield place + name, value
        elif isinstance(value, Mapping):
            yield from batch_sizes(value, f"{place}{name}.")
