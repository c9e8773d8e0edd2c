"""The trials of a small suite that train, evade and invert, each run twice: in two processes, into two stores."""

import multiprocessing
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmark.planning.check import prepare
from benchmark.planning.plan import Node
from benchmark.results.store import Store
from benchmark.running.executors.worker import run_trial
from benchmark.trials.trial import Settings
from perf.gpu import compiling

SUITE = Path(__file__).with_suffix(".yaml")
_STAGES = ("train", "evade", "invert")
_SPAWN = multiprocessing.get_context("spawn")


def nodes() -> list[Node]:
    """Of one replica, and all that they read, parents first."""
    plan = prepare(str(SUITE), None, ()).plan
    wanted = {node.key for node in plan.nodes if node.stage in _STAGES and node.model and node.replica == 0}
    for node in reversed(plan.nodes):
        if node.key in wanted:
            wanted |= set(node.trial.inputs.values())
    return list({node.key: node for node in plan.nodes if node.key in wanted}.values())


def computed(folder: str, device: str) -> None:
    """Run them into a store. Raises RuntimeError for a trial that failed."""
    settings = Settings(folder, device=device, share=0.25)
    Store(folder).writable()
    for node in nodes():
        with compiling.trainings(compiled=True):
            found = run_trial(node.trial, settings)
        if found.error:
            raise RuntimeError(f"{node.stage} {node.method}: {found.error.strip().splitlines()[-1]}")


def twice(device: str) -> Iterator[dict[str, Any]]:
    """A row a trial: the largest difference of its tensors and of its measured values, which are to be equal."""
    with tempfile.TemporaryDirectory() as folder:
        places = [str(Path(folder) / name) for name in ("one", "other")]
        processes = [_SPAWN.Process(target=computed, args=(place, device)) for place in places]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        if any(process.exitcode for process in processes):
            raise RuntimeError("a trial of twice.yaml failed; see the log")
        for node in nodes():
            if node.stage in _STAGES:
                yield compared(node, Store(places[0]), Store(places[1]), device)


def compared(node: Node, one: Store, other: Store, device: str) -> dict[str, Any]:
    tensors = [store.tensors(node.key) for store in (one, other)]
    names, equal, largest = sorted(tensors[0]), sorted(tensors[0]) == sorted(tensors[1]), 0.0
    for name in names if equal else ():
        pair = [found[name] for found in tensors]
        if not torch.equal(*pair):
            equal = False
            largest = max(largest, float((pair[0].double() - pair[1].double()).abs().max()))
    rows = [[(row["metric"], row["space"], row["value"]) for row in _rows(store, node)] for store in (one, other)]
    equal = equal and rows[0] == rows[1]
    return {"what": f"trial twice: {node.stage} {node.method}: {len(names)} tensors, {len(rows[0])} values",
            "how": f"{device} against itself, in two processes", "difference": largest, "tolerance": 0.0,
            "verdict": "equal" if equal else "DIFFERS", "n": 2}  # fmt: skip


def _rows(store: Store, node: Node) -> list[dict[str, Any]]:
    kept = store.examined(node.key)
    assert kept is not None
    return list(kept.rows)
