"""Weights that were trained elsewhere: read without running anything, and fitted into a network by their names."""

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
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
_NAMED = 4
"""Names of each kind that an error lists."""


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


def normalisation_in(weights: Mapping[str, Tensor]) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """(mean, std) a channel, in [0, 1] units, of a model that carries its normalisation; None if it has none."""
    leaves = {name.rpartition(".")[2]: name for name in weights if not _is_layer(name, weights)}
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
    wanted = {_canonical(name): name for name in model.state_dict() if name not in ("mean", "std")}
    given = {_canonical(name): tensor for name, tensor in weights.items() if not _is_statistic(name, weights)}
    # A second, untrained head of TRADES' WideResNet, which its forward pass never uses.
    given = {name: tensor for name, tensor in given.items() if not name.startswith("sub_block1.")}
    counters = {name for name in wanted if name.endswith("num_batches_tracked")}
    own = model.state_dict()
    missing, extra = sorted(wanted.keys() - given.keys() - counters), sorted(given.keys() - wanted.keys())
    shapes = [
        f"{name} {tuple(given[name].shape)} for {tuple(own[wanted[name]].shape)}"
        for name in sorted(wanted.keys() & given.keys())
        if given[name].shape != own[wanted[name]].shape
    ]
    problems = [
        _listed("missing", missing),
        _listed("not in the architecture", extra),
        _listed("of other shape", shapes),
    ]
    if any(problems):
        raise ValueError(f"the checkpoint does not fit the architecture: {'; '.join(p for p in problems if p)}")
    zeros = {wanted[name]: torch.zeros_like(own[wanted[name]]) for name in counters - given.keys()}
    loaded = {wanted[name]: tensor for name, tensor in given.items()}
    model.load_state_dict({"mean": model.mean, "std": model.std, **zeros, **loaded})


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
    prefix = next((p for p in _PREFIXES if weights and all(_under(name, p) for name in weights)), None)
    while prefix is not None:
        weights = {name.removeprefix(prefix): tensor for name, tensor in weights.items()}
        prefix = next((p for p in _PREFIXES if all(_under(name, p) for name in weights)), None)
    return weights


def _under(name: str, prefix: str) -> bool:
    """Statistics of pixels lie beside the wrapped network."""
    return name.startswith(prefix) or _leaf(name) in {n for pair in _STATISTICS for n in pair}


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]


def _is_layer(name: str, weights: Mapping[str, Tensor]) -> bool:
    """Whether a name belongs to a layer: its owner has a weight."""
    return f"{name.rpartition('.')[0]}.weight".lstrip(".") in weights


def _is_statistic(name: str, weights: Mapping[str, Tensor]) -> bool:
    return _leaf(name) in {n for pair in _STATISTICS for n in pair} and not _is_layer(name, weights)


def _canonical(name: str) -> str:
    """One name for a part in our networks and in the usual code."""
    name = name.removeprefix("body.").replace(".inner.", ".")
    name = re.sub(r"^(head|fc|linear|classifier)\.(?=weight|bias)", "logits.", name)
    return name


def _listed(what: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{len(names)} {what}: {', '.join(names[:_NAMED])}{more}"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
