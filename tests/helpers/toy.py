"""Plans of toy stages, and what a store holds of them."""

from collections import Counter, deque
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa

from benchmark import registry
from benchmark.planning.plan import Node, Plan
from benchmark.results.store import Store
from benchmark.running.executors import USUAL, Executor, Finished, Room
from benchmark.running.executors.worker import run_trial
from benchmark.schema import PROVENANCE
from benchmark.trials.trial import Settings, Trial
from benchmark.user_files import include

STAGES = str(Path(__file__).with_name("toy_stages.py"))
_TRIAL = Trial({"method": "evade", "version": 1, "steps": 3}, 0, {"model": "f" * 64})
HOSTILE_NODE = Node(_TRIAL, _TRIAL.key, "evade", "pgd", "<img src=x onerror=alert(1)>", 1, 2.5)
HOSTILE_PLAN = Plan("../<b>", "d" * 64, (HOSTILE_NODE,))


def node(method: str, *parents: Node, seed: int = 0, cost: float = 1.0, **fields: Any) -> Node:
    include.load(STAGES)
    stage = registry.dump("stage", registry.parse("stage", {"method": f"toy_{method}", **fields}))
    trial = Trial(stage, seed, {f"parent_{i}": parent.key for i, parent in enumerate(parents)})
    return Node(trial, trial.key, stage["method"], "", f"model {seed}", seed, cost)


def plan(*nodes: Node) -> Plan:
    return Plan("toys", "0" * 64, nodes)


def diamonds(count: int = 3, seconds: float = 0.0) -> Plan:
    """One root, `count` times two trials that use it and one that uses both: 1 + 3 * count trials."""
    nodes = [node("add", value=1.0)]
    for seed in range(count):
        left, right = (node("add", nodes[0], value=v, seed=seed, seconds=seconds) for v in (2.0, 3.0))
        nodes += [left, right, node("add", left, right, value=4.0, seed=seed, seconds=seconds)]
    return plan(*nodes)


def counted(count: Path, seconds: float) -> Plan:
    """One root and twelve trials that use it; each appends its key to `count` when it begins."""
    root = node("count", file=str(count), seconds=seconds)
    return plan(root, *(node("count", root, file=str(count), seconds=seconds, seed=seed) for seed in range(1, 13)))


def settings(store: Store, **changes: Any) -> Settings:
    return Settings(str(store.root), device="cpu", include=(STAGES,), **changes)


def content(store: Store) -> dict[str, tuple[pa.Table, bytes, bytes]]:
    """Key -> (rows without provenance, bytes of tensors, bytes of the table) of what is finished."""
    provenance = {name for name, _, _ in PROVENANCE} - {"trial_key"}
    found = {}
    for key in store.keys():
        rows = store.rows(key)
        folder = store.folder(key)
        files = ((folder / name).read_bytes() for name in ("tensors.safetensors", "ids.parquet"))
        found[key] = (rows.drop_columns([n for n in rows.column_names if n in provenance]), *files)
    return found


class Inline(Executor):
    """An executor that runs trials in this process, in the order in which it was given them.

    lose: key -> how many attempts at it lose their worker.
    """

    slots = 2

    def __init__(self, settings: Settings, lose: dict[str, int] | None = None) -> None:
        self.settings, self.lose = settings, lose or {}
        self.started: list[str] = []
        self._queue: deque[Trial] = deque()
        self._attempts: Counter[str] = Counter()

    def wants(self, trial: Trial) -> bool:
        return len(self._queue) < self.slots + 1

    def submit(self, trial: Trial, room: Room = USUAL) -> None:
        self.started.append(trial.key)
        self._queue.append(trial)

    def wait(self, timeout: float | None = None) -> list[Finished]:
        trial = self._queue.popleft()
        self._attempts[trial.key] += 1
        if self._attempts[trial.key] <= self.lose.get(trial.key, 0):
            return [Finished(trial.key, error="the worker is gone", loss="worker")]
        return [run_trial(trial, self.settings)]

    def close(self) -> None:
        self._queue.clear()


class Kept:
    """An executor that stays open when a run leaves it, for tests that share one."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def __enter__(self) -> Executor:
        return self._executor

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
