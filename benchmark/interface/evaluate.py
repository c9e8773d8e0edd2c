"""`benchmark.evaluate`: the numbers of a suite for a model that the caller has in memory."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from benchmark import registry
from benchmark.data import Dataset, cache, load
from benchmark.interface.given_network import check_eval_mode, normalisation
from benchmark.interface.kept_files import PARTS, keep_images, keep_members, keep_weights
from benchmark.interface.quick_defaults import QUICK
from benchmark.interface.report import Report
from benchmark.interface.suites import check_executor, run_prepared, warn_of_failures
from benchmark.models.in_memory import hold
from benchmark.planning.check import Prepared, prepare_suite
from benchmark.planning.suite import Suite, load_suite, parse_suite
from benchmark.reading.text import shown
from benchmark.running.executors import Name as Executor
from benchmark.spec import Spec, SpecError, suggest
from benchmark.user_files.include import load as include_file

_LISTS = {"evasions": "evasion", "inversions": "inversion", "memberships": "membership"}
"""Argument -> key of a suite."""


def evaluate(
    model: nn.Module,
    *,
    data: Any = None,
    members: Any = "all",
    suite: str | Path | Suite | None = None,
    evasions: Sequence[Any] | None = None,
    inversions: Sequence[Any] | None = None,
    memberships: Sequence[Any] | None = None,
    name: str = "model",
    architecture: Any = None,
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
    value_range: tuple[float, float] | None = None,
    clean_accuracy: float | None = None,
    adversary: Mapping[str, Any] | None = None,
    results: str | Path = "results",
    executor: Executor = "in_process",
    data_root: str | None = None,
    device: str = "auto",
    include: Sequence[str] = (),
    progress: bool | None = None,
    **settings: Any,
) -> Report:
    """Measure a model's robustness and what it leaks, with judges and controls, as `bench run` does of a checkpoint.

    model: in eval mode; images (N, C, H, W) in, logits (N, K) out. mean and std, or value_range: what it wants of
    pixels in [0, 1], see `benchmark.attack`; default: the pixels as they are.
    data: a data set by name or as a mapping with its settings, or (images, labels, test_images, test_labels); default:
    the suite's. members: training images that the model was trained on: "all", {"first": N}, a file, ids, or a bool for
    each. suite: its data, attacks and judges, with this model in place of its models; default: what suites/quick.yaml
    has. evasions, inversions, memberships: attacks in place of the suite's, the first of each is the primary one.
    settings: other keys of a suite file that are to differ: pools, evaluators, evaluation, replicas, seed, threads.
    architecture: a registered one whose weights the model has: then a trial is that of a checkpoint of it, which every
    executor can run; the normalisation is the architecture's where none is given. Default: the model as it is, code
    and all, in this process. clean_accuracy, adversary: declared, as of a checkpoint in a suite file.
    results: folder or URL in which trials are kept: what is there is not computed again. name: of the model in the
    report; several models under one `results` need several names. progress: show a bar; None: in a notebook alone.

    Raises SpecError or ValueError, in one line, for wrong arguments, and ValueError for a model that is not as accurate
    as it should be: nothing else is measured on it. Warns where other trials failed.
    """
    check_eval_mode(model)
    check_executor(executor, in_memory=architecture is None)
    for file in include:
        include_file(file)
    lists = {"evasions": evasions, "inversions": inversions, "memberships": memberships}
    content = _without_models(suite, data, _changed(settings, lists))
    entry = _entry(model, name, architecture, members, clean_accuracy, adversary)
    given = (mean, std, value_range)
    entry["checkpoint"] |= _normalisation(given, content["data"], data_root, in_memory=architecture is None)
    content |= {"name": f"{content['name']}: {name}", "models": [entry]}
    how: dict[str, Any] = {"executor": executor, "device": device, "progress": progress, "data_root": data_root}
    report = run_prepared(_prepared(content, data_root, include), str(results), include=tuple(include), **how)
    _check_imported(report)
    warn_of_failures(report)
    return report


def _without_models(suite: str | Path | Suite | None, data: Any, changed: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of a suite file, without its models. data, changed: what the caller has in place of the suite's."""
    if suite is None:
        content = {"name": "evaluate", **QUICK}
    else:
        found = suite if isinstance(suite, Suite) else load_suite(str(suite))[0]
        content = found.model_dump(mode="json", exclude={"models", "tuned"})
    content |= changed
    if data is not None:
        content["data"] = _data(data)
    if "data" not in content:
        raise SpecError(f"data: not given; allowed: {', '.join(registry.DATA)}, or ({', '.join(PARTS)})")
    return content


def _changed(settings: Mapping[str, Any], lists: Mapping[str, Sequence[Any] | None]) -> dict[str, Any]:
    """Keys of a suite file that the caller gave."""
    allowed = Suite.model_fields.keys() - {"name", "data", "models", "tuned", *_LISTS.values()}
    for key in settings:
        if key not in allowed:
            raise SpecError(f"evaluate has no argument {shown(key)}{suggest(key, {*allowed, *_LISTS})}")
    found = {key: _plain(value) for key, value in settings.items()}
    for argument, attacks in lists.items():
        if attacks is None:
            continue
        if not isinstance(attacks, list | tuple):
            raise SpecError(f"{argument}: {shown(attacks)} is not allowed; allowed: a list of attacks")
        kind = _LISTS[argument]
        found[kind] = [registry.dump(kind, attack) if isinstance(attack, Spec) else attack for attack in attacks]
    return found


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, Spec) else value


def _data(data: Any) -> Any:
    """What a suite file says of it."""
    if isinstance(data, list | tuple):
        return {"method": "npz", "path": f"files/{keep_images(data).name}"}  # a place that `npz` looks at anywhere
    return registry.dump("data", data) if isinstance(data, Dataset) else data


def _entry(
    model: nn.Module,
    name: str,
    architecture: Any,
    members: Any,
    clean_accuracy: float | None,
    adversary: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The model of a suite file, but for its normalisation."""
    if torch.get_default_dtype() != torch.float32:
        raise SpecError(f"torch.get_default_dtype() is {torch.get_default_dtype()}; allowed: torch.float32")
    if architecture is None:
        held = registry.dump("architecture", hold(model))
        weights = keep_weights(model, "body.")  # where an adapted network has its parts
    else:
        is_spec = isinstance(architecture, Spec)
        held = registry.dump("architecture", architecture) if is_spec else architecture
        weights = keep_weights(model)
    given = {"path": str(weights), "members": _members(members), "clean_accuracy": clean_accuracy}
    if adversary is not None:
        given["adversary"] = dict(adversary)
    return {"name": name, "architecture": held, "checkpoint": given}


def _members(members: Any) -> Any:
    if isinstance(members, Path) or (isinstance(members, str) and members != "all"):
        return str(Path(members).absolute())
    return members if isinstance(members, str | Mapping) else str(keep_members(members))


def _normalisation(given: tuple[Any, Any, Any], data: Any, data_root: str | None, in_memory: bool) -> dict[str, Any]:
    """The key of a checkpoint. given: mean, std, value_range."""
    if given == (None, None, None):
        return {"normalisation": "none"} if in_memory else {}
    channels = load(registry.parse("data", data), data_root).images.shape[1]
    mean, std = normalisation(channels, *given)
    return {"normalisation": {"mean": list(mean), "std": list(std)}}


def _prepared(content: dict[str, Any], data_root: str | None, include: Sequence[str]) -> Prepared:
    """The suite, checked, in a file of its own, by which `bench` can run it if the architecture is a registered one."""
    suite = parse_suite(content)
    text = yaml.safe_dump(content, sort_keys=False)
    file = cache.put(lambda path: _write(path, text), ".yaml")
    return prepare_suite(suite, text, str(file), data_root, include)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _check_imported(report: Report) -> None:
    """Raise ValueError if the model was refused, and nothing measured on it."""
    for failure in report.failures.to_dict("records"):
        if failure["stage"] == "import":
            raise ValueError(f"model: {failure['error'].partition(': ')[2] or failure['error']}")
