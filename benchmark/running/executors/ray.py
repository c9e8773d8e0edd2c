"""Runs trials as Ray tasks, on this machine or on a cluster: `--executor ray`, the default of `bench run`."""

import contextlib
import itertools
import os
import secrets
import time
from dataclasses import dataclass, replace
from typing import Any

from benchmark.machine.devices import num_gpus
from benchmark.machine.interrupts import held
from benchmark.planning.gpu_shares import gpus_of
from benchmark.running.executors import USUAL, Executor, Finished, Loss, Room, ray_places
from benchmark.running.executors.ray_folder import RayFolder
from benchmark.running.executors.ray_start import ALWAYS, OWN_CLUSTER, join, may_grow_gpus, start
from benchmark.running.executors.worker_process import preload
from benchmark.trials.trial import Settings, Trial

_GROWTH = 16
_LOOK_S = 1.0
_NODE_LOSS_S = 6.0
"""A machine that goes down may end its workers some seconds before, or after, it is given up itself."""


@dataclass(frozen=True)
class _Submitted:
    key: str
    threads: int
    gpus: float
    name: str = ""  # of this attempt, in `ray_places`


class RayExecutor(Executor):
    """Plain Ray tasks. Lost workers are reported, not retried here: see `running/retries.py`.

    address: the cluster to join ("auto", "host:6379", "ray://host:10001"); None starts Ray on
    this machine. slots: trials side by side on this machine, 0 for as many as it has room for.

    Trials hold their shares of `Settings.gpus`. In a joined cluster with device "cuda" they wait for GPUs, also while
    no node has one; with "auto" they do where the cluster has GPUs, or its autoscaler can add nodes that have.
    """

    def __init__(self, settings: Settings, slots: int = 0, address: str | None = None) -> None:
        os.environ.update(ALWAYS)  # read when ray is imported and by the processes it starts
        if address is None:
            os.environ.update(OWN_CLUSTER)
        import ray

        self._ray: Any = ray
        self._settings, self._joined = settings, address is not None
        self._owned = not self._ray.is_initialized()
        self._folder: RayFolder | None = None
        if self._owned and address is not None:
            join(self._ray, address)
        elif self._owned:
            self._folder = start(self._ray, settings, slots)
        self._shares = dict(settings.gpus)
        self._resources: dict[str, float] = {}
        self._smallest, self._nodes_lost_at, self._looked_at = 1, -_NODE_LOSS_S, -_LOOK_S
        self._alive: set[str] = set()
        self._lost: set[str] = set()
        self._names = (f"{secrets.token_hex(8)}-{number}" for number in itertools.count())
        self._look()
        self._on_gpus = self._uses_gpus()
        # max_calls=0: the process, with torch loaded, serves the next trial too.
        self._task = self._ray.remote(max_calls=0, max_retries=0)(_task)
        self._tasks: dict[tuple[int, float], Any] = {}
        self._running: dict[Any, _Submitted] = {}
        self._held = {"cpu": 0.0, "gpu": 0.0}
        self._suspects: list[tuple[float, Finished]] = []
        if not self._joined:
            warm = self._ray.remote(num_cpus=settings.threads, max_calls=0, max_retries=0)(preload)
            self._warming = [warm.remote() for _ in range(self.slots)]  # kept, or Ray drops the tasks

    @property
    def slots(self) -> int:
        self._look()
        room = int(self._resources.get("CPU", 0.0) / self._settings.threads)
        # Tasks that wait are what makes a cluster start more nodes.
        return room + _GROWTH if self._joined else max(1, room)

    def wants(self, trial: Trial) -> bool:
        self._look()
        threads, gpus = self._settings.threads, self._share(trial)
        room = self._resources.get("CPU", 0.0) / threads
        if gpus:
            room = min(room, self._resources.get("GPU", 0.0) / gpus)
        waiting = max(1, int(room) // 4) + (_GROWTH if self._joined else 0)
        held = self._held["gpu"] / gpus if gpus else self._held["cpu"] / threads
        return held < int(room) + waiting

    def submit(self, trial: Trial, room: Room = USUAL) -> None:
        gpus = self._share(trial)
        if gpus and room.whole_gpu:
            gpus = max(1.0, gpus)
        threads = max(self._settings.threads, min(self._smallest, self._settings.threads * room.times_threads))
        task = self._tasks.get((threads, gpus))
        if task is None:
            task = self._task.options(num_cpus=threads, num_gpus=gpus)
            self._tasks[threads, gpus] = task
        submitted = _Submitted(trial.key, threads, gpus, next(self._names))
        settings = replace(self._settings, share=gpus or 1.0)
        self._running[task.remote(trial, settings, submitted.name if self._joined else "")] = submitted
        self._hold(submitted, 1)

    def wait(self, timeout: float | None = None) -> list[Finished]:
        if self._suspects:
            timeout = min(timeout or _LOOK_S, _LOOK_S / 4)
        ready: list[Any] = []
        if self._running:
            waiting = list(self._running)
            ready, _ = self._ray.wait(waiting, num_returns=1, timeout=timeout)
            if ready:  # take what else is ready now
                ready, _ = self._ray.wait(waiting, num_returns=len(waiting), timeout=0)
        elif self._suspects:
            time.sleep(timeout or _LOOK_S)
        return self._cleared([self._report(reference) for reference in ready] + self._stranded())

    def close(self) -> None:
        self._running.clear()
        if self._owned:
            self._owned = False
            with held():
                self._ray.shutdown()
        if self._folder is not None:
            self._folder.remove()

    def _share(self, trial: Trial) -> float:
        return gpus_of(trial.stage["method"], self._shares) if self._on_gpus else 0.0

    def _uses_gpus(self) -> bool:
        kind = self._settings.device.partition(":")[0]
        if kind == "auto":
            return self._resources.get("GPU", 0.0) > 0 or (self._joined and may_grow_gpus())
        return kind == "cuda"

    def _hold(self, submitted: _Submitted, sign: int) -> None:
        kind = "gpu" if submitted.gpus else "cpu"
        self._held[kind] += sign * (submitted.gpus or submitted.threads)

    def _look(self) -> None:
        """See, at most once a second, what the cluster has now and whether it lost nodes."""
        now = time.monotonic()
        if now - self._looked_at < _LOOK_S:
            return
        self._looked_at = now
        alive = [node for node in self._ray.nodes() if node["Alive"]]
        names = {node["NodeID"] for node in alive}
        if gone := self._alive - names:
            self._nodes_lost_at = now
            self._lost |= gone
        self._alive = names
        self._resources = {n: sum(node["Resources"].get(n, 0.0) for node in alive) for n in ("CPU", "GPU")}
        cpus = [int(node["Resources"].get("CPU", 0)) for node in alive]
        self._smallest = min((count for count in cpus if count), default=1)

    def _stranded(self) -> list[Finished]:
        """Reports on trials that ran where Ray has given the machine up."""
        self._look()
        lost, self._lost = self._lost, set()
        found = []
        for reference, submitted in list(self._running.items()) if lost and self._joined else ():
            if ray_places.where(submitted.name) in lost:
                del self._running[reference]
                self._hold(submitted, -1)
                ray_places.forget(submitted.name)
                found.append(Finished(submitted.key, error="NodeDiedError: its machine was lost", loss="node"))
        return found

    def _report(self, reference: Any) -> Finished:
        submitted = self._running.pop(reference)
        self._hold(submitted, -1)
        errors = self._ray.exceptions
        try:
            finished: Finished = self._ray.get(reference)
            return finished
        except errors.RayTaskError as error:  # the worker could not even start the trial
            return Finished(submitted.key, error=str(error))
        except errors.OutOfMemoryError as error:
            loss: Loss = "memory"
            text = str(error)
        except (errors.NodeDiedError, errors.LocalRayletDiedError, errors.ObjectLostError) as error:
            loss, text = "node", f"{type(error).__name__}: {error}"
        except errors.RayError as error:
            loss, text = "worker", f"{type(error).__name__}: {error}"
        return Finished(submitted.key, error=text, loss=loss)

    def _cleared(self, reports: list[Finished]) -> list[Finished]:
        """Keep back dead workers' reports in a cluster until it is known whether their machine went with them."""
        now = time.monotonic()
        suspected = [report for report in reports if report.loss == "worker" and self._joined]
        found = [report for report in reports if report not in suspected]
        self._suspects += [(now, report) for report in suspected]
        if self._suspects:
            self._look()
        for at, report in list(self._suspects):
            if self._nodes_lost_at > at - _NODE_LOSS_S:
                found.append(replace(report, loss="node"))
            elif now - at > _NODE_LOSS_S:
                found.append(report)
            else:
                continue
            self._suspects.remove((at, report))
        return found


def _task(trial: Trial, settings: Settings, name: str) -> Finished:
    import ray

    from benchmark.running.executors.worker import run_trial

    given = ray.get_gpu_ids()
    with ray_places.here(name) if name else contextlib.nullcontext():
        return run_trial(trial, replace(settings, device=given_device(settings.device, given)))


def given_device(wanted: str, given: list[Any]) -> str:
    """The device of a task that Ray gave these GPUs: ids of the machine, or names in CUDA_VISIBLE_DEVICES."""
    if not given or (wanted == "auto" and not num_gpus()):  # a node may have a GPU that its torch cannot use
        return "cpu"
    if wanted not in ("auto", "cuda"):
        return wanted
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return f"cuda:{visible.index(str(given[0])) if visible else int(given[0])}"
