"""Many small trials on many simulated Ray nodes that die at random: is it complete, and what does the driver cost?

    python -m perf.simulate --trials 10000 --nodes 50 --losses 40 --every 5

Nodes are processes of this machine (see `simulated_cluster`); trials sleep and write rows. Every row is compared with
its closed form. Prints JSON; `--output` adds a section to a report.
"""

import argparse
import contextlib
import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark import registry
from benchmark.planning.plan import Node, Plan
from benchmark.results.store import Store
from benchmark.running.executors import Executor
from benchmark.running.executors.ray import RayExecutor
from benchmark.running.executors.ray_start import ALWAYS
from benchmark.running.run import run
from benchmark.running.schedule import Event, Report
from benchmark.trials.provenance import versions
from benchmark.trials.trial import Settings, Trial
from benchmark.user_files import include
from perf.simulated_cluster import PATIENT

SLEEPING = str(Path(__file__).with_name("sleeping.py"))
_GROUP = 10
"""Trials that hang together: one, eight that read it, and one that reads these."""


def sleeping_plan(count: int, seconds: float) -> Plan:
    """`count` trials that sleep between half and one and a half times `seconds`."""
    include.load(SLEEPING)
    nodes: list[Node] = []
    for index in range(count):
        place, first = index % _GROUP, index - index % _GROUP
        parents = nodes[first : first + 1] if 0 < place < _GROUP - 1 else nodes[first + 1 : index] if place else []
        length = round(seconds * (0.5 + int.from_bytes(hashlib.sha256(str(index).encode()).digest()[:2]) / 2**16), 4)
        stage = registry.dump("stage", registry.parse("stage", {"method": "sleep", "seconds": length}))
        trial = Trial(stage, index, {f"parent_{i}": parent.key for i, parent in enumerate(parents)})
        nodes.append(Node(trial, trial.key, "sleep", "", "", index, length))
    return Plan("sleeping", "0" * 64, tuple(nodes))


def expected(plan: Plan) -> dict[str, float]:
    """Key -> the `total` that the trial must have written."""
    totals: dict[str, float] = {}
    for node in plan.nodes:
        own = int.from_bytes(hashlib.sha256(node.key.encode()).digest()[:4], "big") / 2**32
        totals[node.key] = own + sum(totals[parent] for parent in node.trial.inputs.values())
    return totals


def wrong(plan: Plan, store: Store) -> list[str]:
    """Keys of trials that are missing, foreign, or have other rows than they must have."""
    totals, found = expected(plan), store.keys()
    odd = set(totals) ^ set(found)
    for key in set(totals) & set(found):
        rows = store.rows(key)
        values = dict(zip(rows["metric"].to_pylist(), rows["value"].to_pylist(), strict=True))
        if rows.num_rows != 2 or values.get("total") != totals[key]:
            odd.add(key)
    return sorted(odd)


@dataclass
class Cluster:
    """The other process, which holds the nodes."""

    process: "subprocess.Popen[str]"
    address: str
    events: list[dict[str, float]] = field(default_factory=list)

    def listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with contextlib.suppress(json.JSONDecodeError):
                self.events.append(json.loads(line))


@contextlib.contextmanager
def cluster(nodes: int, cpus: int, losses: int, every: float) -> Iterator[Cluster]:
    """Nodes on this machine. Ray's files lie in a short path, as its sockets' names have to be short."""
    folder = tempfile.mkdtemp(prefix="sim", dir="/tmp")
    environment = {**os.environ, "RAY_TMPDIR": folder}
    command = [sys.executable, "-m", "perf.simulated_cluster"]
    for name, value in (("nodes", nodes), ("cpus", cpus), ("losses", losses), ("every", every)):
        command += [f"--{name}", str(value)]
    with (Path(folder) / "cluster.log").open("w") as log:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        )
        try:
            assert process.stdout is not None and process.stdin is not None
            address = next((line.split()[1] for line in process.stdout if line.startswith("address ")), "")
            if not address:
                raise RuntimeError(f"the nodes did not start:\n{(Path(folder) / 'cluster.log').read_text()[-2000:]}")
            found = Cluster(process, address)
            threading.Thread(target=found.listen, daemon=True).start()
            yield found
        finally:
            if process.stdin is not None:
                process.stdin.close()
            process.wait(120)
            shutil.rmtree(folder, ignore_errors=True)


def simulate(options: argparse.Namespace, results: Path) -> dict[str, Any]:
    """Run the plan; what is to be reported of it."""
    # Ray's server listens beyond loopback here: whoever has not this token is refused.
    os.environ.update({**ALWAYS, **PATIENT}, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    import ray

    plan, store, counts = sleeping_plan(options.trials, options.seconds), Store(results), Counter[str]()
    reasons, finished = Counter[str](), Counter[str]()

    def note(event: Event) -> None:
        counts[event.kind] += 1
        if event.kind == "finished" and event.num_done % 500 == 0:
            print(f"{event.num_done} of {event.num_total} trials", file=sys.stderr, flush=True)
        if event.kind == "retried":
            reasons[event.message.partition(":")[0]] += 1
        if event.kind == "finished" and event.node is not None:
            finished[event.node.key] += 1

    begin = time.monotonic()
    with cluster(options.nodes, options.cpus, options.losses, options.every) as nodes:
        print(f"{options.nodes} nodes started in {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
        ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")
        spent = time.process_time()

        def start(settings: Settings) -> Executor:
            return RayExecutor(settings, address=nodes.address)

        settings = Settings(str(results), device="cpu", include=(SLEEPING,))
        report: Report = run(plan, store, start, settings, on_event=note)
        spent = time.process_time() - spent
        ray.shutdown()
        events = list(nodes.events)
    return {
        "trials": report.num_total,
        "done": report.num_done,
        "failed": report.num_failed,
        "wrong_rows": len(wrong(plan, store)),
        "finished_twice": sum(count > 1 for count in finished.values()),
        "nodes": options.nodes,
        "cpus_a_node": options.cpus,
        "nodes_lost": sum("lost_at" in event for event in events),
        "retried": dict(reasons),
        "wall_s": round(report.wall_s, 1),
        "trials_per_s": round(report.num_executed / report.wall_s, 1),
        "slept_s": round(report.trial_wall_s, 1),
        "driver_cpu_ms_per_trial": round(1000 * spent / max(1, report.num_executed), 2),
        "peak_memory_gib": round(max((event["memory_bytes"] for event in events), default=0) / 2**30, 2),
        "versions": versions(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--nodes", type=int, default=50)
    parser.add_argument("--cpus", type=int, default=1, help="of a node: trials side by side on it")
    parser.add_argument("--losses", type=int, default=40, help="nodes to lose (default %(default)s)")
    parser.add_argument("--every", type=float, default=5.0, help="mean seconds between losses (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=1.0, help="mean sleep of a trial (default %(default)s)")
    parser.add_argument("--output", type=Path, help="write the figures there, as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="simulated") as folder:
        found = json.dumps(simulate(options, Path(folder) / "results"), indent=1)
    print(found)
    if options.output:
        options.output.write_text(found)


if __name__ == "__main__":
    main()
