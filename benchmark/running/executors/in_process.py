"""Trials one after another in this process, for notebooks and scripts: they may use networks that are in its memory."""

import contextlib
import ctypes
import threading
import warnings
from collections import deque
from dataclasses import dataclass, field, replace

import torch

from benchmark.planning.gpu_shares import gpus_of
from benchmark.running.executors import USUAL, Executor, Finished, Room
from benchmark.running.executors.worker import run_trial
from benchmark.trials.trial import Settings, Trial


@dataclass
class InProcessExecutor(Executor):
    """A thread that runs a trial at a time, with numbers equal to those of the other executors.

    In a thread of its own a trial knows nothing of the caller's autocast, default device or `no_grad`, and Ctrl-C
    reaches the caller at once. Leaving it gives the caller's number of threads back to torch.
    """

    settings: Settings
    slots: int = field(default=1, init=False)
    _queue: deque[Trial] = field(default_factory=deque, init=False)
    _ended: list[Finished] = field(default_factory=list, init=False)
    _change: threading.Condition = field(default_factory=threading.Condition, init=False)
    _running: Trial | None = field(default=None, init=False)
    _closed: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._threads = torch.get_num_threads()
        self._thread = threading.Thread(target=self._serve, name="bench-trials", daemon=True)
        self._thread.start()

    def wants(self, trial: Trial) -> bool:
        return not self._queue

    def submit(self, trial: Trial, room: Room = USUAL) -> None:
        with self._change:
            self._queue.append(trial)
            self._change.notify_all()

    def wait(self, timeout: float | None = None) -> list[Finished]:
        with self._change:
            self._change.wait_for(lambda: self._ended, timeout)
            ended, self._ended = self._ended, []
        return ended

    def close(self) -> None:
        with self._change:
            self._closed = True
            self._queue.clear()
            self._change.notify_all()
        # A trial that still runs ends at its next step in Python; it has written nothing.
        while self._thread.is_alive():
            thread, error = ctypes.c_ulong(self._thread.ident or 0), ctypes.py_object(KeyboardInterrupt)
            if self._running is not None:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, error)
            self._thread.join(0.5)
        torch.set_num_threads(self._threads)

    def _serve(self) -> None:
        with contextlib.suppress(KeyboardInterrupt):  # of `close`, between two trials
            self._work()

    def _work(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._queue or self._closed)
                if self._closed:
                    return
                self._running = self._queue.popleft()
            finished = self._report(self._running)
            with self._change:
                self._running = None
                self._ended.append(finished)
                self._change.notify_all()

    def _report(self, trial: Trial) -> Finished:
        # As on the other executors: a stage without a share of a GPU computes beside it.
        share = min(1.0, gpus_of(trial.stage["method"], dict(self.settings.gpus)))
        device = self.settings.device if share else "cpu"
        with warnings.catch_warnings():  # those of a process of its own, whatever the caller makes of warnings
            warnings.simplefilter("default")
            warnings.simplefilter("ignore", DeprecationWarning)
            return run_trial(trial, replace(self.settings, device=device))
