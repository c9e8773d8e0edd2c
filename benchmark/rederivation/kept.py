"""Reads what the trials of one suite kept, as numpy arrays."""

import hashlib
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmark.rederivation.cuts import drawn
from benchmark.rederivation.numbers import Place
from benchmark.results.store import CorruptArtifact, Store

_TENSORS = "tensors.safetensors"
_CURVES = ("robustness_curve", "corrupt")
_RAW = {stage: _TENSORS for stage in ("predict", "evade", "probe", "invert", "neighbours", "query", *_CURVES)} | {
    "leakage": "samples.parquet",
    "infer_membership": "scores.parquet",
    "memorization": "memorization.parquet",
}
"""Stage -> the file of its raw output. Numbers of a trial that wrote none cannot be derived again."""
_SIDES = ("is_member", "is_out", "never_seen")
_QUERIED = ("margins", "adversarial", "correct", "image_id", "label", "group", *_SIDES)
PROBED = ("randomised_outputs", "probability_outputs", "zero_gradients")
"""What the stage `probe` says of each image."""
_OUTCOMES = {f"{pool}_{name}" for pool in ("test", "members") for name in ("clean", "robust", "only_black_box")}
_BOOLS = {"correct", "right", *_OUTCOMES, *PROBED, *_SIDES}
_INTEGERS = {"image_id", "label", "group", "targets", "auxiliary"}
"""Of tensors; what is in neither, and is no `_ids`, is real."""
_S, _F, _I, _B = pa.string(), pa.float64(), pa.int64(), pa.bool_()
_TABLES = {
    "samples": pa.schema({"space": _S, "metric": _S, "value": _F}),
    "scores": pa.schema({"image_id": _I, "label": _I, "group": _I, "score": _F, "is_member": _B, "judged": _B}),
    "memorization": pa.schema(
        {"memorization": _F, "memorization_error": _F, "margin_gap": _F}
        | dict.fromkeys(("num_in", "num_out", "attacked_in"), _I)
    ),
}
"""Table -> the columns of it that are read."""
_MOST_READ = 128
"""Files that stay in memory: every membership attack on a model looks at what all of its replicas were asked."""
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

    Its methods raise CorruptArtifact, also for numbers of another kind than a run writes. What they return is shared.
    """

    def __init__(self, store: Store, manifest: Mapping[str, Any], done: set[str]) -> None:
        self.store, self.suite, self.about = store, manifest["suite"], manifest["about"]
        finished = store.finished({node["key"] for node in manifest["nodes"]} & done, lambda _: None)
        stages = {node["key"]: node["stage"] for node in manifest["nodes"]}
        whole = {key for key, kept in finished.items() if _RAW.get(stages[key], "rows.parquet") in kept.files}
        self.nodes = [_node(node) for node in manifest["nodes"] if node["key"] in whole]
        self._rows = {key: {(row["space"], row["metric"]): row for row in kept.rows} for key, kept in finished.items()}
        self.models = [model["name"] for model in self.about["models"]]
        self.arrays = lru_cache(_MOST_READ)(self.read)
        self.table = lru_cache(_MOST_READ)(self._table)
        self.cut = cache(self._cut)
        self.names = cache(lambda key: store.tensor_names(key))

    def of(self, stage: str, model: str | None = None) -> list[Node]:
        return [node for node in self.nodes if node.stage == stage and model in (None, node.model)]

    def row(self, key: str, metric: str, space: str = "") -> dict[str, Any]:
        """A row that the trial wrote; empty where it wrote none."""
        return self._rows.get(key, {}).get((space, metric), {})

    def read(self, key: str, *names: str) -> Arrays:
        """As `arrays`, which keeps what it read: not for whole images of every trial."""
        found = dict(zip(names, self.store.arrays(key, *names), strict=True))
        for name, array in found.items():
            most = 2 if name == "right" else 1 if name in _BOOLS | _INTEGERS else 4
            if array.dtype.kind != _kind(name) or not 1 <= array.ndim <= most:
                raise CorruptArtifact(key, _TENSORS, f"{name} is {array.dtype}{array.shape}, which no run writes")
        return found

    def _table(self, key: str, name: str) -> Arrays:
        found = self.store.table(key, name, _TABLES[name])
        for column in found.column_names:
            if found[column].null_count and found[column].type != _F:
                raise CorruptArtifact(key, f"{name}.parquet", f"{column} has gaps, which no run writes")
        return {column: found[column].to_numpy(zero_copy_only=False) for column in found.column_names}

    def sides(self, pools: str, replica: int | None) -> Arrays | None:
        """What a model was asked about the private images of a replica, as `queries` has it; None where none was."""
        for node in self.of("query"):
            if node.inputs["pools"] == pools and node.replica == (replica or 0):
                return self.arrays(node.key, *_QUERIED)
        return None

    def _cut(self, pools: str, replica: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]] | None:
        """(images (U,), members (1 + D, U)) of a replica, as it was cut and under other cuts; mates share them."""
        sides = self.sides(pools, replica)
        if sides is None:
            return None
        chosen = sides["is_member"] | sides["is_out"]
        images, label, group, member = (sides[name][chosen] for name in ("image_id", "label", "group", "is_member"))
        seed = int.from_bytes(hashlib.sha256(f"{pools} {replica // 2} again".encode()).digest()[:8], "big")
        cuts = drawn(member if replica % 2 == 0 else ~member, label, group, np.random.default_rng(seed))
        return images, cuts if replica % 2 == 0 else ~cuts

    def queries(self, node: Node) -> dict[int, Arrays]:
        """Replica -> `_QUERIED` of the private images, of a trial that reads query_0, query_1, ..."""
        keys = {int(role[6:]): key for role, key in node.inputs.items() if role.startswith("query_")}
        return {replica: self.arrays(keys[replica], *_QUERIED) for replica in sorted(keys)}


def _node(found: Mapping[str, Any]) -> Node:
    labels = {name: found[name] for name in ("key", "stage", "method", "model", "replica")}
    settings, inputs = found["trial"]["stage"], found["trial"]["inputs"]
    return Node(**{**labels, "settings": settings, "inputs": inputs})


def _kind(name: str) -> str:
    """The letter that numpy has for the kind of numbers in a tensor."""
    if name in _BOOLS:
        return "b"
    return "i" if name in _INTEGERS or name.endswith("_ids") else "f"


def at(ids: npt.NDArray[np.int64], known: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Places of ids, of any shape, among known ones (P,), ascending. Raises ValueError for an unknown one."""
    places = np.searchsorted(known, ids).clip(max=len(known) - 1)
    if not np.array_equal(known[places], ids):
        raise ValueError("an image that is none of the private ones")
    return places
