"""Finds results that an older version of a method left: they have other keys, so a plan does not count them."""

import ast
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.registry import KINDS
from benchmark.spec import Spec

if TYPE_CHECKING:
    from benchmark.planning.plan import Plan

Json = dict[str, Any]
_LOOKED_AT = 3
"""Trials of an older version that are looked for in the store: enough to say that there are some."""

_DEEPEST = 20
"""Of settings inside settings; a stranger's may have any depth."""


def older(plan: "Plan", record: Mapping[str, Any], has: Callable[[str], bool]) -> list[Json]:
    """A line for each (stage, label, method) of the plan of which the last plan had an older version that has results.

    record: of the last plan of the same name, as it was packed; anybody may have written it. has: whether a key has
    results. Looks at stages that differ, some thousand, and not at each trial.
    """
    try:
        known = _known(record)
        told = {(o["stage"], o["label"], o["method"]): o["version"] for o in record["about"].get("older", ())}
        found = []
        for stage, label, method, version in _planned(plan):
            there = (v for v, keys in known.get((stage, method), {}).items() if v < version and any(map(has, keys)))
            before = max(there, default=told.get((stage, label, method)))
            if before is not None and before < version:
                found.append({"stage": stage, "label": label, "method": method, "version": before, "now": version})
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError):
        return []  # no record of a plan
    return found


def sentence(line: Mapping[str, Any]) -> str:
    """One of the lines that `older` returns, in words."""
    method, version, now = line["method"], line["version"], line["now"]
    return f"results of version {version} of {method} are there; this is version {now}: run it again"


def outdated(stages: Iterable[Any]) -> list[str]:
    """The methods in these stages' settings of which the code has a newer version, in words."""
    pairs = dict.fromkeys(pair for stage in stages for pair in _methods(stage))
    return [
        f"the results shown are of version {version} of {method}; the code here has version {now}: run it again"
        for method, version in pairs
        if (now := current_version(method)) is not None and now > version
    ]


@functools.cache
def current_version(method: str) -> int | None:
    """VERSION of a method of this package, None for another's; read from its file, since importing it loads torch."""
    path = next((methods[method] for methods in KINDS.values() if method in methods), "")
    module, _, name = path.partition(":")
    if not module.startswith("benchmark."):
        return None
    # Not `importlib.util.find_spec`: it imports the packages above the module, and one of them loads torch.
    file = Path(__file__).parents[1].joinpath(*module.split(".")[1:]).with_suffix(".py")
    for node in ast.parse(file.read_bytes()).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            for line in node.body:
                if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "VERSION":
                    return int(ast.literal_eval(line.value))
    return Spec.VERSION


def _known(record: Mapping[str, Any]) -> dict[tuple[str, str], dict[int, list[str]]]:
    """(stage, method in it) -> version -> keys of some trials of the last plan."""
    keys: dict[int, list[str]] = {}
    for key, place in zip(record["keys"], record["trials"]["stage"], strict=True):
        if len(of_stage := keys.setdefault(place, [])) < _LOOKED_AT:
            of_stage.append(key)
    found: dict[tuple[str, str], dict[int, list[str]]] = {}
    for place, stage in enumerate(record["stages"]):
        for method, version in _methods(stage):
            some = found.setdefault((stage["method"], method), {}).setdefault(version, [])
            some += keys.get(place, [])[: _LOOKED_AT - len(some)]
    return found


def _planned(plan: "Plan") -> Iterator[tuple[str, str, str, int]]:
    """(stage, label, method in it, version), each once."""
    stages = {(id(node.trial.stage), node.method): node for node in plan.nodes}
    found = ((n.stage, n.method, *methods) for n in stages.values() for methods in _methods(n.trial.stage))
    return iter(dict.fromkeys(found))


def _methods(value: Any, depth: int = 0) -> Iterator[tuple[str, int]]:
    """(method, version) of everything in a stage's settings that has a version."""
    if depth > _DEEPEST:
        return
    if isinstance(value, Mapping):
        method, version = value.get("method"), value.get("version")
        if isinstance(method, str) and type(version) is int:
            yield method, version
        value = list(value.values())
    if isinstance(value, Sequence) and not isinstance(value, str):
        for inner in value:
            yield from _methods(inner, depth + 1)
