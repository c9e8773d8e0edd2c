"""Stages that do next to nothing, given to runs with `--include`."""

import math
import os
import signal
import sys
import time
import uuid
from pathlib import Path

import pyarrow as pa
import torch

from benchmark.registry import register
from benchmark.trials.trial import Context, Outcome, Stage


class Add(Stage):
    """Sum of the parents' totals and `value`, plus noise that depends on the trial's key only."""

    value: float = 0.0
    seconds: float = 0.0

    def run(self, context: Context) -> Outcome:
        time.sleep(self.seconds)
        noise = torch.rand(256, generator=context.generator("noise"))
        total = self.value + sum(float(context.tensors(role)["total"]) for role in context.trial.inputs)
        ids = pa.table({"id": range(3), "noise": [float(x) for x in noise[:3]]})
        return Outcome(
            rows=[
                {"method": "add", "metric": "total", "value": total, "n": len(context.trial.inputs)},
                {"method": "add", "metric": "noise", "value": float(noise.sum()), "low": 0.0, "high": 256.0},
                {"method": "add", "metric": "unknown", "value": None, "note": "not measured"},
            ],
            tensors={"total": torch.tensor(total), "noise": noise},
            tables={"ids": ids},
        )


class Fail(Stage):
    """Raises until the file `until` exists."""

    until: str

    def run(self, context: Context) -> Outcome:
        if not Path(self.until).exists():
            raise RuntimeError("the toy broke")
        return Outcome(rows=[{"metric": "total", "value": 1.0}], tensors={"total": torch.tensor(1.0)})


class NotFinite(Stage):
    def run(self, context: Context) -> Outcome:
        return Outcome(rows=[{"metric": "accuracy", "value": float("nan")}])


class DieTimes(Stage):
    """Is killed, as by the system when memory is short, in its first `times` attempts."""

    folder: str
    times: int

    def run(self, context: Context) -> Outcome:
        attempt = len(list(Path(self.folder).iterdir()))
        (Path(self.folder) / str(attempt)).touch()
        if attempt < self.times:
            os.kill(os.getpid(), signal.SIGKILL)
        return Outcome(rows=[{"metric": "total", "value": float(attempt)}])


class Leave(Stage):
    """Ends, in one of several ways, the process that it runs in; notes each attempt in `folder`."""

    how: str
    folder: str

    def run(self, context: Context) -> Outcome:
        (Path(self.folder) / uuid.uuid4().hex).touch()
        ways = {"sys.exit": lambda: sys.exit(3), "os._exit": lambda: os._exit(3), "os.abort": os.abort}
        ways.get(self.how, lambda: None)()
        raise KeyboardInterrupt


class Worker(Stage):
    """Reports the worker's threads and process, as rows."""

    def run(self, context: Context) -> Outcome:
        return Outcome(
            rows=[
                {"metric": "threads", "value": torch.get_num_threads()},
                {"metric": "pid", "value": os.getpid()},
            ]
        )


class Batch(Stage):
    """Has a batch size."""

    batch_size: int

    def run(self, context: Context) -> Outcome:
        return Outcome(rows=[{"metric": "batch_size", "value": float(self.batch_size)}])


class Peak(Stage):
    """The success rate of an attack that is best at 0.3, and a file a call. Breaks where `aim` is above `most`."""

    aim: float
    calls: str
    model: str
    size: int
    most: float = 1e9

    def run(self, context: Context) -> Outcome:
        (Path(self.calls) / f"{context.trial.key}.{uuid.uuid4().hex}").touch()
        if self.aim > self.most:
            raise FloatingPointError("the toy broke")
        rate = math.exp(-abs(math.log(self.aim / 0.3)))
        return Outcome(
            rows=[
                {"metric": "attack_success_rate", "value": rate, "low": rate / 2, "high": 1.0, "n": self.size},
                {"metric": "robust_accuracy", "value": 1 - rate, "low": 0.0, "high": 1.0, "n": self.size},
            ]
        )


class Count(Stage):
    """Appends its key to a file, then sleeps."""

    file: str
    seconds: float = 0.0

    def run(self, context: Context) -> Outcome:
        with Path(self.file).open("a") as file:
            file.write(f"{context.trial.key}\n")
        time.sleep(self.seconds)
        return Outcome(rows=[{"metric": "total", "value": 1.0}], tensors={"total": torch.tensor(1.0)})


for stage in (Add, Batch, Fail, NotFinite, DieTimes, Leave, Worker, Peak, Count):
    register("stage", f"toy_{stage.__name__.lower()}", stage)
