"""Weights that were trained elsewhere: read without running anything, and fitted into a network by their names."""

import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from benchmark.models.classifier import Classifier

_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "params", "ema", "weights")
"""Keys under which training scripts put the weights, beside epochs and optimizers."""
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "attacker.model.", "backbone.")
"""What wrappers put in front of every name: data parallelism, compilation, a normalising model."""
_STATISTICS = (("mean", "std"), ("mu", "sigma"), ("new_mean", "new_std"))
"""Names that normalising models give to the mean and the standard deviation of pixels."""
_STATISTIC_NAMES = {name for pair in _STATISTICS for name in pair}
_NAMED = 4
"""Names of each kind that an error lists."""
Naming = Callable[[Iterable[str]], dict[str, str]]
"""Names -> the same names written in one way, to be compared."""


def read(path: Path) -> dict[str, Tensor]:
    """Name -> tensor of a `.safetensors` file or of a state dict saved by torch.

    Wrappers of training scripts are taken off, of the file and of the names. A pickle that is more than tensors in
    plain containers is refused: loading it would run what is in it.
    Raises ValueError, in one line, for files that are none of these, and for weights that are not finite.
    """
    try:
        content = load_file(path) if path.suffix == ".safetensors" else _torch_file(path)
    except FileNotFoundError:
        raise ValueError(f"checkpoint {str(path)!r} is not there") from None
    except (OSError, SafetensorError) as error:
        raise ValueError(f"checkpoint {str(path)!r} cannot be read: {_line(error)}") from error
    weights = _unwrapped(content)
    if not weights:
        raise ValueError(f"checkpoint {str(path)!r} holds no weights; allowed: a state dict, name -> tensor")
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ValueError(f"checkpoint {str(path)!r}: {name!r} holds NaN or infinity")
    return weights


def normalisation_in(
    weights: Mapping[str, Tensor], model: Classifier | None = None
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """(mean, std) a channel, in [0, 1] units, of a model that carries its normalisation; None if it has none.

    model: the one that the weights are for. What its own body normalises with is part of it, and not counted.
    """
    parts: set[str] = {name for name in weights if name.startswith("body.")}
    if model is not None and not parts:  # not our own layout, which has the constants beside the body
        parts = set(_plain(name for name in model.state_dict() if name.startswith("body.")).values())
    leaves = {_leaf(name): name for name in weights if _is_statistic(name, weights) and name not in parts}
    for mean, std in _STATISTICS:
        if mean in leaves and std in leaves:
            found = (tuple(weights[leaves[name]].flatten().tolist()) for name in (mean, std))
            return next(found), next(found)
    return None


def fit(model: Classifier, weights: Mapping[str, Tensor]) -> None:
    """Load weights into a network whose parts have the same names, or the names of the usual CIFAR code.

    That is the layout of RobustBench's ResNets, PreActResNets and WideResNets, of torchvision's and timm's networks for
    the architectures of these libraries, and our own. The model keeps its normalisation.
    Raises ValueError, in one line, with the names and shapes that do not fit.
    """
    own = {name: tensor for name, tensor in model.state_dict().items() if name not in ("mean", "std")}
    attempts = [_matched(own, weights, naming) for naming in (_as_they_are, _plain, _canonical)]
    pairs, problems = min(
        (a for a in attempts if a is not None), key=lambda attempt: sum(map(len, attempt[1].values()))
    )
    if any(problems.values()):
        listed = (_listed(what, names) for what, names in problems.items() if names)
        raise ValueError(f"the checkpoint does not fit the architecture: {'; '.join(listed)}")
    # Counters of batches are of no effect where a norm has a momentum, and old files have none.
    zeros = {name: torch.zeros_like(tensor) for name, tensor in own.items() if name not in pairs}
    model.load_state_dict({"mean": model.mean, "std": model.std, **zeros, **pairs})


def _matched(
    own: Mapping[str, Tensor], weights: Mapping[str, Tensor], naming: Naming
) -> tuple[dict[str, Tensor], dict[str, list[str]]] | None:
    """(name in the model -> tensor of the file, what does not fit); None if a name would stand for two parts."""
    wanted = {new: old for old, new in naming(own).items()}
    names = naming(weights)
    ignored = {old for old, new in names.items() if new not in wanted and _is_ignored(old, weights)}
    given = {new: old for old, new in names.items() if old not in ignored}
    if naming is not _as_they_are and (len(wanted) < len(own) or len(given) < len(weights) - len(ignored)):
        return None
    both = sorted(wanted.keys() & given.keys())
    shapes = [
        f"{given[name]} {tuple(weights[given[name]].shape)} for {tuple(own[wanted[name]].shape)}"
        for name in both
        if weights[given[name]].shape != own[wanted[name]].shape
    ]
    problems = {
        "missing": sorted(name for name in wanted.keys() - given.keys() if _leaf(name) != "num_batches_tracked"),
        "not in the architecture": sorted(given[name] for name in given.keys() - wanted.keys()),
        "of other shape": shapes,
    }
    return {wanted[name]: weights[given[name]] for name in both}, problems


def _as_they_are(names: Iterable[str]) -> dict[str, str]:
    return {name: name for name in names}


def _plain(names: Iterable[str]) -> dict[str, str]:
    """Without what our classifiers and the usual wrappers put in front of every name."""
    plain = {name: name.removeprefix("body.") for name in names}
    while prefix := next((p for p in _PREFIXES if _all_under(plain.values(), p)), None):
        plain = {old: new.removeprefix(prefix) for old, new in plain.items()}
    return plain


def _canonical(names: Iterable[str]) -> dict[str, str]:
    """One name for a part in our networks and in the usual code."""
    plain = {old: new.replace(".inner.", ".") for old, new in _plain(names).items()}
    return {old: re.sub(r"^(head|fc|linear|classifier)\.(?=weight|bias)", "logits.", new) for old, new in plain.items()}


def _is_ignored(name: str, weights: Mapping[str, Tensor]) -> bool:
    """Statistics of pixels, and the second block of TRADES' WideResNet, which its forward pass never uses."""
    return _is_statistic(name, weights) or name.startswith("sub_block1.")


def _torch_file(path: Path) -> Any:
    try:
        with warnings.catch_warnings(action="ignore"):  # of pickle protocols that torch does not write itself
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if not _is_torch_file(path):
            raise OSError("no file of torch or safetensors") from error
        asked = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f" ({asked[1]})" if asked else ""
        raise OSError(
            f"it is more than weights{what}, and loading it would run code from the file; save the state dict alone "
            "with safetensors.torch.save_file, on a machine that may trust it"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, AttributeError, TypeError, IndexError) as error:
        raise OSError(f"truncated, or no file of torch or safetensors ({_line(error)})") from error


def _is_torch_file(path: Path) -> bool:
    """A zip archive, or the older format, which begins with a pickled magic number."""
    with path.open("rb") as file:
        return zipfile.is_zipfile(path) or file.read(2)[:1] == b"\x80"


def _unwrapped(content: Any) -> dict[str, Tensor]:
    while isinstance(content, Mapping):
        inner = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping):
        return {}
    weights = {str(name): tensor for name, tensor in content.items() if isinstance(tensor, Tensor)}
    return {new: weights[old] for old, new in _plain(weights).items()}


def _all_under(names: Collection[str], prefix: str) -> bool:
    """Statistics of pixels may lie beside the wrapped network."""
    under = [name.startswith(prefix) for name in names]
    return any(under) and all(u or _leaf(name) in _STATISTIC_NAMES for u, name in zip(under, names, strict=True))


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]


def _is_layer(name: str, weights: Mapping[str, Tensor]) -> bool:
    """Whether a name belongs to a layer: its owner has a weight."""
    return f"{name.rpartition('.')[0]}.weight".lstrip(".") in weights


def _is_statistic(name: str, weights: Mapping[str, Tensor]) -> bool:
    return _leaf(name) in _STATISTIC_NAMES and not _is_layer(name, weights)


def _listed(what: str, names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{len(names)} {what}: {', '.join(names[:_NAMED])}{more}"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
