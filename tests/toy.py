"""Plans of toy stages, and what a store holds of them."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmark import registry
from benchmark.plan import Node, Plan
from benchmark.schema import PROVENANCE
from benchmark.store import Store
from benchmark.trial import Settings, Trial

STAGES = str(Path(__file__).with_name("toy_stages.py"))


def node(method: str, *parents: Node, seed: int = 0, cost: float = 1.0, **fields: Any) -> Node:
    registry.include(STAGES)
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


def settings(store: Store) -> Settings:
    return Settings(str(store.root), device="cpu", include=(STAGES,))


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
