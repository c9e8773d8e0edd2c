"""Starts Ray on this machine, or joins a cluster that runs: with which settings, and what the cluster may grow to."""

import contextlib
import logging
from pathlib import Path
from typing import Any

import yaml

from benchmark.machine.interrupts import held
from benchmark.running.executors.local import gpu_ids, num_slots
from benchmark.running.executors.ray_folder import ADVICE, RayFolder
from benchmark.trials.trial import Settings

ALWAYS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",  # it would print of trials that Ctrl-C gave up; the others are looked at
    # Workers see every GPU and pick the one they were given: a process that serves another GPU
    # next could not change its CUDA_VISIBLE_DEVICES any more once CUDA has started.
    "RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "1",
}
"""For drivers and nodes, in every cluster."""
LOST_NODES = {
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}
"""For the head of a cluster: a silent node is given up in under 5 s; with Ray's own settings it takes 12 to 16 s."""
OWN_CLUSTER = {
    **LOST_NODES,
    "RAY_AUTH_MODE": "disabled",  # it listens on loopback; a token would be left in the home folder
    # Ray's agents look for the server of a killed driver this long before they leave; 60 by default.
    "RAY_gcs_rpc_server_reconnect_timeout_s": "10",
}
"""For the Ray that a driver starts for itself alone."""
_OBJECT_STORE_BYTES = 150 * 2**20  # tasks pass keys; Ray's own floor is 75 MiB
_CLUSTER_FILE = Path("~/ray_bootstrap_config.yaml")
_QUIET: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}


def join(ray: Any, address: str) -> None:
    with held():
        ray.init(address=address, runtime_env={"env_vars": ALWAYS}, job_config=_job(ray), **_QUIET)


def start(ray: Any, settings: Settings, slots: int) -> RayFolder:
    """Start Ray on this machine, in a folder of its own. Raises ValueError, in one line, where it does not start."""
    folder = RayFolder.make()
    cpus, gpus = (slots or num_slots(settings)) * settings.threads, len(gpu_ids(settings))
    own = {"address": "local", "include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES}
    try:
        with held():  # "local": never one that happens to run here
            ray.init(num_cpus=cpus, num_gpus=gpus, _temp_dir=str(folder.path), job_config=_job(ray), **own, **_QUIET)
    except Exception as error:  # of many kinds, where a disk is full, a port is closed, a limit is reached
        with contextlib.suppress(Exception):
            ray.shutdown()
        folder.remove()
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ValueError(f"Ray does not start on this machine ({reason}), in {str(folder.path)!r}; {ADVICE}") from error
    return folder


def _job(ray: Any) -> Any:
    """Workers look for modules where the driver does: Ray would put the current folder first, whatever it holds."""
    job = ray.job_config.JobConfig()
    job._client_job = True  # as Ray's own server of remote drivers has it
    return job


def may_grow_gpus() -> bool:
    """Can the cluster's autoscaler add nodes that have GPUs?

    The newer autoscaler says so to all drivers. The older one tells nobody: `ray up` leaves the cluster's file on the
    head, where drivers run. Where neither is known, `--device cuda` says it.
    """
    from ray._private.state import state

    with contextlib.suppress(Exception):  # not a public call: another Ray may not have it
        if (state.get_max_resources_from_cluster_config() or {}).get("GPU", 0) > 0:
            return True
    try:
        kinds = yaml.safe_load(_CLUSTER_FILE.expanduser().read_text())["available_node_types"].values()
        return any(kind.get("max_workers", 1) and kind["resources"].get("GPU", 0) > 0 for kind in kinds)
    except (OSError, yaml.YAMLError, TypeError, KeyError, AttributeError):
        return False
