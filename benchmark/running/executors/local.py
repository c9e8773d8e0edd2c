"""Runs trials in worker processes of this machine: `--executor local`. Needs no Ray."""

import os
import signal
from collections import deque
from dataclasses import dataclass, field, replace
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

from benchmark.machine.devices import num_gpus
from benchmark.planning.gpu_shares import gpus_of
from benchmark.running.executors import USUAL, Executor, Finished, Loss, Room, worker_process
from benchmark.trials.trial import Settings, Trial


def num_slots(settings: Settings) -> int:
    """How many trials this machine's processor can run side by side."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only; it knows about taskset and cpusets
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, cores // settings.threads)


def gpu_ids(settings: Settings) -> list[int]:
    """Indices, as torch counts, of this machine's GPUs that trials may use."""
    kind, _, index = settings.device.partition(":")
    if kind == "cpu":
        return []
    if index:
        return [int(index)]
    return list(range(num_gpus()))


@dataclass
class _Worker:
    process: BaseProcess
    connection: worker_process.Trials
    trial: Trial | None = None
    share: float = 0.0
    gpu: int | None = None  # the one it used last


@dataclass
class LocalExecutor(Executor):
    """A process a slot, each with a pipe of its own: a killed worker costs its own trial only.

    A trial gets the GPU that has most room for its share; those without a share run beside, on the CPU.
    """

    settings: Settings
    slots: int = 0
    _workers: list[_Worker] = field(default_factory=list, init=False)
    _queue: deque[tuple[Trial, float]] = field(default_factory=deque, init=False)
    _lost: list[Finished] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self.slots = self.slots or num_slots(self.settings)
        self._gpus, self._shares = gpu_ids(self.settings), dict(self.settings.gpus)

    def wants(self, trial: Trial) -> bool:
        on_gpu = self._share(trial) > 0
        return sum((share > 0) == on_gpu for _, share in self._queue) < max(1, self.slots // 4)

    def submit(self, trial: Trial, room: Room = USUAL) -> None:
        share = self._share(trial)
        self._queue.append((trial, 1.0 if share and room.whole_gpu else share))
        self._feed()

    def wait(self, timeout: float | None = None) -> list[Finished]:
        finished, self._lost = self._lost, []
        busy = {worker.connection: worker for worker in self._workers if worker.trial is not None}
        for connection in wait(list(busy), 0 if finished else timeout) if busy else ():
            worker = busy[connection]  # type: ignore[index]
            try:
                finished.append(worker.connection.recv())
                worker.trial = None
            except (EOFError, OSError):
                finished.append(self._bury(worker))
        self._feed()
        return finished

    def close(self) -> None:
        for worker in self._workers:
            worker.process.terminate()  # a trial that still runs has written nothing
        for worker in self._workers:
            worker.process.join(2)
            worker.process.kill()
            worker.process.join()
            worker.connection.close()
            worker.process.close()
        self._workers.clear()
        self._queue.clear()

    def _feed(self) -> None:
        """Give queued trials to idle workers; keep one more worker warm than is needed now."""
        busy = sum(worker.trial is not None for worker in self._workers)
        while len(self._workers) < min(self.slots, busy + len(self._queue) + 1):
            self._workers.append(_Worker(*worker_process.start(self.settings.threads)))
        for trial, share in list(self._queue):
            idle = [worker for worker in self._workers if worker.trial is None]
            gpu = self._roomiest(share)
            if not idle:
                break
            if share and gpu is None:
                continue
            # CUDA keeps memory of each GPU that a process has used: use few processes for each.
            worker = min(idle, key=lambda worker: worker.gpu != gpu)
            self._queue.remove((trial, share))
            worker.trial, worker.share = trial, share
            worker.gpu = gpu if share else worker.gpu
            device = self.settings.device if not self._gpus else f"cuda:{gpu}" if share else "cpu"
            try:
                worker.connection.send((trial, replace(self.settings, device=device, share=share or 1.0)))
            except OSError:  # it died while idle
                self._lost.append(self._bury(worker))

    def _roomiest(self, share: float) -> int | None:
        """The GPU with most room, if that is enough for this share; None for a trial that needs none."""
        busy = [worker for worker in self._workers if worker.trial is not None]
        held = {gpu: sum(worker.share for worker in busy if worker.gpu == gpu) for gpu in self._gpus}
        found = min(held, key=lambda gpu: held[gpu], default=None)
        return found if share and found is not None and held[found] + share <= 1 + 1e-9 else None

    def _share(self, trial: Trial) -> float:
        """Of one GPU: a trial computes on one, however many it asked for."""
        return min(1.0, gpus_of(trial.stage["method"], self._shares)) if self._gpus else 0.0

    def _bury(self, worker: _Worker) -> Finished:
        """Take a dead worker out; the report on the trial that it had."""
        assert worker.trial is not None
        self._workers.remove(worker)
        worker.connection.close()
        worker.process.join()
        code = worker.process.exitcode or 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"left with exit code {code}"
        hint = " (out of memory?)" if code == -signal.SIGKILL else ""
        loss: Loss = "worker" if code < 0 else "exit"
        report = Finished(worker.trial.key, error=f"worker process {worker.process.pid} {how}{hint}", loss=loss)
        worker.process.close()
        return report
