"""Ray nodes that are processes of this machine; some are killed at random and others take their places.

A process of its own, so that the driver's time is the driver's alone. Prints the address, then a JSON line a lost node;
ends, with all nodes, when its input is closed.
"""

import argparse
import json
import os
import random
import select
import sys
import time
from pathlib import Path
from typing import Any

from benchmark.running.executors.ray_start import ALWAYS, LOST_NODES

_NODE = {"object_store_memory": 75 * 2**20, "include_dashboard": False}
_LOOK_S = 5.0
_AGENTS = ("--dashboard_agent_command", "--runtime_env_agent_command")
_NO_AGENT = Path(__file__).with_name("no_agent.sh")
PATIENT = {
    # Dead nodes refuse connections here, and are known at once; live ones may be slow, fifty on two cores.
    "RAY_health_check_timeout_ms": "10000",
    "RAY_grpc_client_keepalive_time_ms": "10000",
    "RAY_grpc_client_keepalive_timeout_ms": "30000",
}
_ENVIRONMENT = {
    **ALWAYS,
    **LOST_NODES,
    **PATIENT,
    "RAY_gcs_rpc_server_reconnect_timeout_s": "60",
    # The nodes share a machine that is busy with other things: its memory says nothing about a trial.
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_task_events_report_interval_ms": "0",
    "RAY_enable_metrics_collection": "false",
}


def without_agents(services: Any) -> None:
    """Start nodes without Ray's two Python helpers, which take 200 MB a node and serve dashboard and runtime_env."""
    start = services.start_ray_process

    def lean(command: list[str], process_type: str, *args: Any, **named: Any) -> Any:
        replaced = [_without(part) for part in command]
        return start(replaced, process_type, *args, **named)

    services.start_ray_process = lean


def _without(argument: str) -> str:
    name, _, command = argument.partition("=")
    if name not in _AGENTS:
        return argument
    kept = [part for part in command.split() if part.startswith(("--node-id=", "--session-dir="))]
    return f"{name}={' '.join(['/bin/sh', str(_NO_AGENT), *kept])}"


def memory_bytes(session: str) -> int:
    """Memory of the processes of one Ray session, each shared page counted once."""
    total = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            ours = session.encode() in (process / "environ").read_bytes()
            lines = (process / "smaps_rollup").read_text().splitlines() if ours else []
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, required=True)
    parser.add_argument("--cpus", type=int, required=True, help="of a node")
    parser.add_argument("--every", type=float, required=True, help="mean seconds between two losses; 0: none")
    parser.add_argument("--losses", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.environ.update(_ENVIRONMENT)
    from ray._private import services
    from ray.cluster_utils import Cluster

    without_agents(services)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **_NODE})
    nodes = [cluster.add_node(wait=False, num_cpus=options.cpus, **_NODE) for _ in range(options.nodes)]
    cluster.wait_for_nodes(timeout=600)
    print("address", cluster.address, flush=True)
    draw, lost = random.Random(options.seed), 0
    due = time.monotonic() + (draw.expovariate(1 / options.every) if options.every else 1e9)
    while not select.select([sys.stdin], [], [], max(0.0, min(due - time.monotonic(), _LOOK_S)))[0]:
        event: dict[str, float] = {"memory_bytes": memory_bytes(os.environ["RAY_TMPDIR"])}
        if time.monotonic() >= due and lost < options.losses:
            node = nodes.pop(draw.randrange(len(nodes)))
            cluster.remove_node(node, allow_graceful=False)
            event["lost_at"] = time.time()
            nodes.append(cluster.add_node(wait=False, num_cpus=options.cpus, **_NODE))
            lost += 1
            due = time.monotonic() + (draw.expovariate(1 / options.every) if lost < options.losses else 1e9)
        print(json.dumps(event), flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
