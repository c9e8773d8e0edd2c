"""Describes a suite for the page, as JSON that is kept with its plan in the results folder."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, cast

from benchmark.evasion.attack import Evasion
from benchmark.models.checkpoint import in_words
from benchmark.models.group_norm import GroupNormed
from benchmark.planning.given_model import Checkpoint, Given
from benchmark.planning.labels import labelled
from benchmark.planning.models_of_suite import AnyModel, ExternalModel, ModelEntry
from benchmark.planning.suite import Suite
from benchmark.reading.plausible_values import MOST_INCLUDED
from benchmark.reading.text import printable
from benchmark.registry import dump
from benchmark.spec import Spec
from benchmark.user_files.include import Source


def describe(
    suite: Suite,
    text: str,
    path: str,
    card: str,
    given: Mapping[str, Given] = MappingProxyType({}),
    included: Mapping[str, Source] = MappingProxyType({}),
) -> dict[str, Any]:
    """The suite in plain words, so that its page can be rebuilt from the results folder alone.

    text, path: of the suite file. card: of the data set. given: the checkpoint of each external model. included: files
    of the user's own methods, by their paths as given.
    """
    return {
        "yaml": text,
        "path": path,
        "data": card,
        "replicas": suite.replicas,
        "shadow_replicas": suite.shadow_replicas,
        "models": [
            _external(model, given[model.name]) if isinstance(model, ExternalModel) else _model(model)
            for model in suite.models
        ],
        "evasion": [_attack(name, cast(Evasion, each)) for name, each in labelled("evasion", suite.evasion).items()],
        "inversion": list(labelled("inversion", suite.inversion)),
        "prices": suite.prices and suite.prices.model_dump(mode="json"),
        "membership": list(labelled("membership", suite.membership)),
        "included": _included(included),
    }


def _included(files: Mapping[str, Source]) -> list[dict[str, Any]]:
    """Path, hash and text of each file, so that a reader sees what was run; the text unless it is too long."""
    found, left = [], MOST_INCLUDED
    for path, file in files.items():
        text = printable(file.text.decode("utf-8-sig", errors="replace").replace("\r\n", "\n"))
        kept = text if len(text) <= left else None
        left -= len(kept or "")
        found.append({"path": printable(path), "sha256": file.sha256, "text": kept})
    return found


def _model(entry: ModelEntry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "architecture": _architecture(entry.architecture),
        "regime": dump("regime", entry.regime)["method"],
        **_trained_against(entry),
    }


def _trained_against(model: AnyModel) -> dict[str, Any]:
    norm, epsilon = model.adversary or (None, None)
    return {"train_norm": norm, "train_epsilon": epsilon}


def _architecture(spec: Spec) -> str:
    """Its name, and what is in place of layers that its regime cannot train."""
    if isinstance(spec, GroupNormed):
        return f"{_architecture(spec.of)}, group norm for batch norm"
    name: str = dump("architecture", spec)["method"]
    return name


def _external(model: ExternalModel, given: Given) -> dict[str, Any]:
    return {
        "name": model.name,
        "architecture": dump("architecture", model.architecture)["method"],
        "regime": "checkpoint",
        **_trained_against(model),
        "num_members": given.num_members,
        "checkpoint": _checkpoint(model.checkpoint, given),
    }


def _checkpoint(declared: Checkpoint, given: Given) -> str:
    """In a line: which file it is, and what was declared of it."""
    members = declared.members if isinstance(declared.members, str) else f"the first {declared.members.first}"
    accuracy = "none" if declared.clean_accuracy is None else f"{declared.clean_accuracy:g}"
    mean, std = (", ".join(f"{value:.4g}" for value in values) for values in (given.mean, given.std))
    left_out = f"; left out of the file: {in_words(given.left_out)}" if given.left_out else ""
    listed = f" (sha256 {given.members['sha256']})" if "sha256" in given.members else ""
    return (
        f"sha256 {given.sha256}; normalisation mean {mean}, std {std}; "
        f"declared members: {members}{listed}; declared clean accuracy: {accuracy}{left_out}"
    )


def _attack(name: str, attack: Evasion) -> dict[str, Any]:
    return {"label": name, "kind": attack.KIND, "norm": attack.norm, "epsilon": attack.epsilon}
