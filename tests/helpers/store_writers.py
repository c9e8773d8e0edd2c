"""Processes that write one trial to a store; apart from the tests, so that they need not load torch."""

import os
import signal
from pathlib import Path

import pyarrow as pa

import benchmark.storage.folder
from benchmark.results.store import Store
from benchmark.trials.trial import Outcome, Row, Trial

MADE = {
    "git_commit": "abc",
    "versions": "python 3",
    "device": "a processor",
    "host": "h",
    "threads": 1,
    "wall_s": 1.5,
    "gpu_s": 0.0,
    "gpus": 0.0,
    "gpu_utilisation": None,
    "gpu_memory_bytes": None,
    "host_memory_bytes": 2**30,
    "created_utc": "2020-01-01T00:00:00+00:00",
}
ROW: Row = {"method": "pgd", "metric": "robust_accuracy", "value": 0.5, "low": 0.4, "high": 0.6, "n": 100}
TABLE = pa.table({"id": [1, 2, 3], "score": [0.1, 0.2, 0.3]})


def trial(seed: int = 0) -> Trial:
    return Trial({"method": "evade", "version": 1, "steps": 3}, seed, {"model": "f" * 64})


def killed_at(root: str, step: int) -> None:
    """Write a trial and be killed in the middle of its `step`-th file."""
    write_new, steps = benchmark.storage.folder.write_new, iter(range(step + 1))

    def dying(path: Path, content: bytes) -> None:
        if next(steps) == step:
            path.write_bytes(content[: len(content) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        write_new(path, content)

    benchmark.storage.folder.write_new = dying
    Store(root).write(trial(), Outcome(rows=[ROW], tables={"scores": TABLE}), MADE)


def write_often(root: str, who: int) -> None:
    """Write the trial 40 times with `who` + 1 rows, each with a `wall_s` between `who` and `who` + 1."""
    for i in range(40):
        outcome = Outcome(rows=[ROW] * (who + 1), tables={"scores": TABLE})
        Store(root).write(trial(), outcome, {**MADE, "wall_s": who + i / 100})
