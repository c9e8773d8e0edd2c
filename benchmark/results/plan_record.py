"""Packs a plan for `plans/` in the results folder: as columns, in which equal stages and keys are written once.

A suite of 100,000 trials has some thousand stages that differ; a node each, with its trial, would be ten times as
large and as slow.
"""

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from benchmark.reading.plausible_values import KEY, LONGEST_NAME, is_amount, is_count, is_name, is_text

if TYPE_CHECKING:
    from benchmark.planning.plan import Plan

Json = dict[str, Any]
LABELS = ("stage", "method", "model", "replica", "cost")
_MOST_NODES = 500_000
"""A plan of so many has the most bytes that the store reads."""


def pack(plan: "Plan", about: Mapping[str, Any]) -> bytes:
    """The JSON of a plan. about: JSON of the caller's choice, such as the text and the path of the suite file.

    `trials` has a value a trial: its stage, the roles of its inputs and their keys as places in `stages`, `roles`
    and `keys`, and its seed. `nodes` has a value a node: its trial as a place in `keys`, and its labels.
    """
    places: dict[str, int] = {}
    stages, roles = _Distinct(), _Distinct()
    trials: dict[str, list[Any]] = {"stage": [], "seed": [], "roles": [], "inputs": []}
    for node in plan.nodes:
        if node.key not in places:
            places[node.key] = len(places)
            trials["stage"].append(stages.place(dict(node.trial.stage)))
            trials["seed"].append(node.trial.seed)
            trials["roles"].append(roles.place(list(node.trial.inputs)))
            trials["inputs"].append([places.get(key, key) for key in node.trial.inputs.values()])
    manifest = {"record": "plans", "suite": plan.suite, "suite_hash": plan.suite_hash, "about": dict(about)}
    parts = [_part(name, value) for name, value in manifest.items()]
    parts += [_part("stages", stages.values), _part("roles", roles.values), _part("trials", trials)]
    trials.clear()  # one part at a time: the whole takes much memory
    parts.append(_part("keys", list(places)))
    columns = {name: [getattr(node, name) for node in plan.nodes] for name in LABELS}
    parts.append(_part("nodes", {"trial": [places[node.key] for node in plan.nodes], **columns}))
    return b"{" + b",\n".join(parts) + b"}"


def packed(manifest: Mapping[str, Any]) -> bytes:
    """The bytes that `pack` made, from the record that was read from them."""
    return b"{" + b",\n".join(_part(name, value) for name, value in manifest.items()) + b"}"


def _part(name: str, value: Any) -> bytes:
    """A line of the record."""
    return f"{json.dumps(name)}:{json.dumps(value, allow_nan=False, separators=(',', ':'))}".encode()


class _Distinct:
    """JSON values, each once, by their place."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._places: dict[str, int] = {}

    def place(self, value: Any) -> int:
        place = self._places.setdefault(repr(value), len(self.values))
        if place == len(self.values):
            self.values.append(value)
        return place


def unpack(manifest: Mapping[str, Any]) -> Json:
    """The record that was packed, with a mapping for each node: key, labels, cost and the JSON of its trial.

    Reads the older form too, which had that already. Raises ValueError where it is neither.
    """
    try:
        found = {name: manifest[name] for name in ("suite", "suite_hash", "about")}
        if isinstance(manifest["nodes"], list):
            return {**found, "nodes": [{**node, "key": str(node["key"])} for node in manifest["nodes"]]}
        keys, trials = manifest["keys"], list(_trials(manifest))
        return {
            **found,
            "nodes": [
                {"key": keys[at], **dict(zip(LABELS, labels, strict=True)), "trial": trials[at]}
                for at, *labels in _labelled(manifest)
            ],
        }
    except _NOT_ONE as error:
        raise ValueError(f"not the record of a plan ({type(error).__name__}: {error})") from error


def sound(manifest: Mapping[str, Any]) -> bool:
    """Whether `unpack` can read the record, and finds in it what `pack` writes; without unpacking all of it."""
    try:
        if not is_name(manifest["suite"]) or not is_text(manifest["suite_hash"], LONGEST_NAME):
            return False
        nodes = manifest["nodes"]
        if isinstance(nodes, list):  # the older form
            keys = [node["key"] for node in nodes]
            columns = {name: [node[name] for node in nodes] for name in LABELS}
            inputs = all(_are_inputs(node["trial"]["inputs"]) for node in nodes)
        else:
            number = sum(_are_inputs(trial["inputs"]) for trial in _trials(manifest))
            keys, inputs = (
                manifest["keys"],
                number == len(manifest["keys"]) and max(nodes["trial"], default=-1) < number,
            )
            columns = {name: nodes[name] for name in LABELS}
        return inputs and _are_keys(keys) and _are_labels(columns)
    except _NOT_ONE:
        return False


def _are_inputs(inputs: Any) -> bool:
    """Role -> key of a trial."""
    return isinstance(inputs, dict) and all(isinstance(key, str) for key in inputs.values())


def _are_keys(keys: Any) -> bool:
    return all(isinstance(key, str) and KEY.fullmatch(key) for key in keys)


def _are_labels(columns: Mapping[str, list[Any]]) -> bool:
    """Whether the nodes' labels are of the kinds that `pack` writes. Most of them are equal."""
    names = {name for column in ("stage", "method", "model") for name in columns[column]}
    texts = all(is_text(name, LONGEST_NAME) for name in names) and all(set(columns["stage"]))
    replicas = all(replica is None or is_count(replica, _MOST_NODES) for replica in columns["replica"])
    costs = all(map(is_amount, columns["cost"]))
    return texts and replicas and costs and len(columns["stage"]) <= _MOST_NODES


_NOT_ONE = (KeyError, TypeError, IndexError, AttributeError, ValueError)


def _trials(manifest: Mapping[str, Any]) -> Iterator[Json]:
    keys, stages, roles = manifest["keys"], manifest["stages"], manifest["roles"]
    columns = (manifest["trials"][name] for name in ("stage", "seed", "roles", "inputs"))
    for stage, seed, r, inputs in zip(*columns, strict=True):
        found = (keys[at] if isinstance(at, int) else at for at in inputs)
        yield {"stage": stages[stage], "seed": seed, "inputs": dict(zip(roles[r], found, strict=True))}


def _labelled(manifest: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    return zip(*(manifest["nodes"][name] for name in ("trial", *LABELS)), strict=True)
