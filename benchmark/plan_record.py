"""A plan as the results folder keeps it: columns, in which equal stages and keys are written once.

A suite of 100,000 trials has some thousand stages that differ; a node each, with its trial, would be ten times as
large and as slow.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmark.plan import Plan

Json = dict[str, Any]
LABELS = ("stage", "method", "model", "replica", "cost")


def pack(plan: "Plan", about: Mapping[str, Any]) -> bytes:
    """JSON of a plan. about: JSON of the caller's choice, such as the text and the path of the suite file.

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
    """The bytes that `pack` made of what was read of it."""
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
    """What was packed, with a mapping a node: key, labels, cost and the JSON of its trial.

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
    """Whether `unpack` can read it; without the memory for all of it."""
    try:
        if not isinstance(manifest["suite"], str) or not isinstance(manifest["suite_hash"], str):
            return False
        if isinstance(manifest["nodes"], list):
            found = ((node["key"], *(node[name] for name in LABELS)) for node in unpack(manifest)["nodes"])
            return all(_is_node(*node) for node in found)
        keys, number = manifest["keys"], sum(1 for _ in _trials(manifest))
        return all(at < number and _is_node(keys[at], *labels) for at, *labels in _labelled(manifest))
    except _NOT_ONE:
        return False


def _is_node(key: Any, stage: Any, method: Any, model: Any, replica: Any, cost: Any) -> bool:
    """Whether a node's key and labels are of the types that `pack` writes."""
    texts = isinstance(stage, str) and isinstance(method, str) and isinstance(model, str)
    numbers = (replica is None or type(replica) is int) and type(cost) in (int, float)
    return texts and numbers and isinstance(key, str) and bool(_KEY.fullmatch(key))


_KEY = re.compile(r"[0-9a-f]{64}")
_NOT_ONE = (KeyError, TypeError, IndexError, AttributeError, ValueError)


def _trials(manifest: Mapping[str, Any]) -> Iterator[Json]:
    keys, stages, roles = manifest["keys"], manifest["stages"], manifest["roles"]
    columns = (manifest["trials"][name] for name in ("stage", "seed", "roles", "inputs"))
    for stage, seed, r, inputs in zip(*columns, strict=True):
        found = (keys[at] if isinstance(at, int) else at for at in inputs)
        yield {"stage": stages[stage], "seed": seed, "inputs": dict(zip(roles[r], found, strict=True))}


def _labelled(manifest: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    return zip(*(manifest["nodes"][name] for name in ("trial", *LABELS)), strict=True)
