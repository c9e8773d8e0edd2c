"""Reads what the trials of one suite kept, as numpy arrays."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmark.rederivation.numbers import Place
from benchmark.results.store import Store

_TENSORS = "tensors.safetensors"
_RAW = {stage: _TENSORS for stage in ("predict", "evade", "invert", "neighbours", "query")} | {
    "leakage": "samples.parquet",
    "infer_membership": "scores.parquet",
    "memorization": "memorization.parquet",
}
"""Stage -> the file of its raw output. Numbers of a trial that wrote none cannot be derived again."""
Arrays = dict[str, npt.NDArray[Any]]


class Node(NamedTuple):
    """A finished trial with its labels. settings: of its stage. inputs: role -> key."""

    key: str
    stage: str
    method: str
    model: str
    replica: int | None
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]

    def place(self, metric: str, space: str = "") -> Place:
        return Place(self.model, self.replica, self.stage, self.method, space, metric)


class Kept:
    """The finished trials of one suite. manifest: the plan's record. done: keys of those that the page is made of.

    Its methods raise CorruptArtifact.
    """

    def __init__(self, store: Store, manifest: Mapping[str, Any], done: set[str]) -> None:
        self.store, self.suite, self.about = store, manifest["suite"], manifest["about"]
        finished = store.finished({node["key"] for node in manifest["nodes"]} & done, lambda _: None)
        stages = {node["key"]: node["stage"] for node in manifest["nodes"]}
        whole = {key for key, kept in finished.items() if _RAW.get(stages[key], "rows.parquet") in kept.files}
        self.nodes = [_node(node) for node in manifest["nodes"] if node["key"] in whole]
        self._rows = {key: {(row["space"], row["metric"]): row for row in kept.rows} for key, kept in finished.items()}
        self.models = [model["name"] for model in self.about["models"]]
        self.cuts: dict[tuple[str, int], tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]] = {}
        """(pools, replica) -> other cuts of its private images, see `recut`."""
        self.arrays = lru_cache(maxsize=64)(self._arrays)

    def of(self, stage: str, model: str | None = None) -> list[Node]:
        return [node for node in self.nodes if node.stage == stage and model in (None, node.model)]

    def row(self, key: str, metric: str, space: str = "") -> dict[str, Any]:
        """A row that the trial wrote; empty where it wrote none."""
        return self._rows.get(key, {}).get((space, metric), {})

    def _arrays(self, key: str, *names: str) -> Arrays:
        return dict(zip(names, self.store.arrays(key, *names), strict=True))

    def table(self, key: str, name: str) -> Arrays:
        found = self.store.table(key, name)
        return {column: found[column].to_numpy(zero_copy_only=False) for column in found.column_names}

    def sides(self, pools: str, replica: int | None) -> Arrays | None:
        """Of the private images: image_id, label, group, is_member, is_out, never_seen; None where none was asked."""
        names = ("image_id", "label", "group", "is_member", "is_out", "never_seen")
        for node in self.of("query"):
            if node.inputs["pools"] == pools and node.replica == (replica or 0):
                return self.arrays(node.key, *names)
        return None

    def queries(self, node: Node) -> dict[int, Arrays]:
        """Replica -> what it was asked, of a trial that reads query_0, query_1, ..."""
        keys = {int(role[6:]): key for role, key in node.inputs.items() if role.startswith("query_")}
        names = ("margins", "adversarial", "correct", "is_member", "is_out", "never_seen", "image_id", "label", "group")
        return {replica: self.arrays(keys[replica], *names) for replica in sorted(keys)}


def _node(found: Mapping[str, Any]) -> Node:
    labels = {name: found[name] for name in ("key", "stage", "method", "model", "replica")}
    settings, inputs = found["trial"]["stage"], found["trial"]["inputs"]
    return Node(**{**labels, "settings": settings, "inputs": inputs})


def at(ids: npt.NDArray[np.int64], known: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Places of ids, of any shape, among known ones (P,), ascending. Raises ValueError for an unknown one."""
    places = np.searchsorted(known, ids).clip(max=len(known) - 1)
    if not np.array_equal(known[places], ids):
        raise ValueError("an image that is none of the private ones")
    return places
