"""Freezes a node of a small Ray in the middle of a trial, as if its cable were pulled, and wakes it afterwards.

Prints what the driver saw, as JSON. A program of its own, since Ray stays in the process that has started it.
"""

import json
import os
import secrets
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from benchmark import registry
from benchmark.planning.plan import Node, Plan
from benchmark.results.store import Store
from benchmark.running.executors.ray import RayExecutor
from benchmark.running.executors.ray_start import ALWAYS, LOST_NODES
from benchmark.running.run import run
from benchmark.running.schedule import Event
from benchmark.trials.trial import Settings, Trial
from benchmark.user_files import include
from perf.simulated_cluster import without_agents

STAGE = str(Path(__file__).with_name("telling.py"))
NODE: dict[str, Any] = {"object_store_memory": 75 * 2**20, "include_dashboard": False}


def freeze(pids: Path, moments: dict[str, float], given_up: threading.Event) -> None:
    """Stop the first trial's process and its node's, until the node is given up."""
    while not list(pids.iterdir()):
        time.sleep(0.05)
    worker = int(next(pids.iterdir()).name)
    raylet = int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])
    for pid in (raylet, worker):
        os.kill(pid, signal.SIGSTOP)
    moments["frozen"] = time.time()
    given_up.wait(60)
    for pid in (worker, raylet):
        os.kill(pid, signal.SIGCONT)


def main(folder: Path) -> None:
    os.environ.update({**ALWAYS, **LOST_NODES}, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    import ray
    from ray._private import services
    from ray.cluster_utils import Cluster

    without_agents(services)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **NODE})
    for _ in range(2):
        cluster.add_node(num_cpus=1, **NODE)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    pids, store = folder / "pids", Store(folder / "results")
    pids.mkdir()
    include.load(STAGE)
    stage = registry.dump("stage", registry.parse("stage", {"method": "telling", "folder": str(pids), "seconds": 15.0}))
    trial = Trial(stage, 0)
    plan = Plan("frozen", "0" * 64, (Node(trial, trial.key, "telling", "", "", 0, 1.0),))
    moments: dict[str, float] = {}
    given_up, kinds, reasons = threading.Event(), list[str](), list[str]()

    def note(event: Event) -> None:
        if event.kind != "waiting":
            kinds.append(event.kind)
        if event.kind == "retried":
            moments["told"] = time.time()
            reasons.append(event.message.partition(":")[0])
            given_up.set()

    threading.Thread(target=freeze, args=(pids, moments, given_up), daemon=True).start()
    settings = Settings(str(store.root), device="cpu", include=(STAGE,))
    report = run(plan, store, lambda settings: RayExecutor(settings, address=cluster.address), settings, on_event=note)
    found = {
        "detected_s": moments["told"] - moments["frozen"],
        "kinds": kinds,
        "reasons": reasons,
        "num_done": report.num_done,
        "attempts": len(list(pids.iterdir())),
        "rows": store.rows(trial.key)["value"].to_pylist(),
        "problems": [str(problem.path) for problem in store.check()],
    }
    ray.shutdown()
    cluster.shutdown()
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
