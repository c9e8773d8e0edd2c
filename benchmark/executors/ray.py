"""Trials as Ray tasks, on this machine or a cluster. The only module that imports ray."""

import logging
import os
import time
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from benchmark.executors import Finished
from benchmark.executors.local import num_gpus, num_slots, preload
from benchmark.trial import Settings, Trial

_ALWAYS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Workers see every GPU and pick the one they were given: a process that serves another GPU
    # next could not change its CUDA_VISIBLE_DEVICES any more once CUDA has started.
    "RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "1",
}
_OWN_CLUSTER = {
    "RAY_AUTH_MODE": "disabled",  # it listens on loopback; a token would be left in the home folder
    # A lost node is noticed within about a second; the default takes 12-16 s.
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
    # Ray's agents look for the server of a killed driver this long before they leave; 60 by default.
    "RAY_gcs_rpc_server_reconnect_timeout_s": "10",
}
_OBJECT_STORE_BYTES = 150 * 2**20  # tasks pass keys; Ray's own floor is 75 MiB
_GROWTH = 16
_RESOURCES_S = 1.0


class RayExecutor:
    """Plain Ray tasks. Lost workers are reported, not retried here: `run` counts the attempts.

    address: the cluster to join ("auto", "host:6379", "ray://host:10001"); None starts Ray on
    this machine. slots: trials side by side on this machine, 0 for as many as it has room for.
    gpus_per_trial: share of a GPU a trial holds; None: a whole one where there is one.
    """

    def __init__(
        self, settings: Settings, slots: int = 0, address: str | None = None, gpus_per_trial: float | None = None
    ) -> None:
        os.environ.update(_ALWAYS)  # read when ray is imported and by the processes it starts
        if address is None:
            os.environ.update(_OWN_CLUSTER)
        import ray

        self._ray: Any = ray
        self._settings, self._joined = settings, address is not None
        self._owned = not self._ray.is_initialized()
        if self._owned:
            _init(self._ray, settings, slots, address)
        if gpus_per_trial is None:
            has_gpu = self._ray.cluster_resources().get("GPU", 0) > 0
            gpus_per_trial = 1.0 if settings.device != "cpu" and has_gpu else 0.0
        self._gpus = gpus_per_trial
        # max_calls=0: the process, with torch loaded, serves the next trial too.
        options = {"num_cpus": settings.threads, "num_gpus": gpus_per_trial, "max_calls": 0, "max_retries": 0}
        self._task = self._ray.remote(**options)(_task)
        self._running: dict[Any, str] = {}
        self._resources: dict[str, float] = {}
        self._resources_at = -_RESOURCES_S
        if not self._joined:
            warm = self._ray.remote(**options)(preload)
            self._warming = [warm.remote() for _ in range(self.slots)]  # kept, or Ray drops the tasks

    @property
    def slots(self) -> int:
        if time.monotonic() - self._resources_at >= _RESOURCES_S:
            self._resources, self._resources_at = self._ray.cluster_resources(), time.monotonic()
        room = self._resources.get("CPU", 0.0) / self._settings.threads
        if self._gpus:
            room = min(room, self._resources.get("GPU", 0.0) / self._gpus)
        # Tasks that wait are what makes a cluster start more nodes.
        return int(room) + _GROWTH if self._joined else max(1, int(room))

    def submit(self, trial: Trial) -> None:
        self._running[self._task.remote(trial, self._settings)] = trial.key

    def wait(self, timeout: float | None = None) -> list[Finished]:
        if not self._running:
            return []
        waiting = list(self._running)
        ready, _ = self._ray.wait(waiting, num_returns=1, timeout=timeout)
        if ready:  # take what else is ready now
            ready, _ = self._ray.wait(waiting, num_returns=len(waiting), timeout=0)
        return [self._report(reference, self._running.pop(reference)) for reference in ready]

    def close(self) -> None:
        self._running.clear()
        if self._owned:
            self._owned = False
            self._ray.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _report(self, reference: Any, key: str) -> Finished:
        try:
            finished: Finished = self._ray.get(reference)
            return finished
        except self._ray.exceptions.RayTaskError as error:  # the worker could not even start the trial
            return Finished(key, error=str(error))
        except self._ray.exceptions.RayError as error:
            return Finished(key, error=f"{type(error).__name__}: {error}", system=True)


def _init(ray: Any, settings: Settings, slots: int, address: str | None) -> None:
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address is not None:
        ray.init(address=address, runtime_env={"env_vars": _ALWAYS}, **quiet)
        return
    cpus = (slots or num_slots(settings)) * settings.threads
    gpus = 0 if settings.device == "cpu" else num_gpus()
    own = {"address": "local", "include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES}
    ray.init(num_cpus=cpus, num_gpus=gpus, **own, **quiet)  # "local": never one that happens to run here


def _task(trial: Trial, settings: Settings) -> Finished:
    import ray

    from benchmark.executors.worker import run_trial

    given = ray.get_gpu_ids()
    return run_trial(trial, replace(settings, device=_device(settings.device, given)))


def _device(wanted: str, given: list[Any]) -> str:
    """The device of a task that Ray gave these GPUs: ids of the machine, or names in CUDA_VISIBLE_DEVICES."""
    if not given:
        return "cpu" if wanted == "auto" else wanted
    if wanted not in ("auto", "cuda"):
        return wanted
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return f"cuda:{visible.index(str(given[0])) if visible else int(given[0])}"
