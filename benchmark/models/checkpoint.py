"""Reads the weights of a model that was trained elsewhere, and loads them into a network by their names."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark.models import checkpoint_file, checkpoint_names
from benchmark.models.checkpoint_names import Match
from benchmark.models.classifier import Classifier
from benchmark.reading.text import shown

_WRAPPERS = (
    "state_dict", "model_state_dict", "model_state", "model", "net", "network", "module", "params", "weights",
    "best_state_dict", "best_model", "best", "last",
)  # fmt: skip
"""Keys under which training scripts put the weights, beside epochs and optimizers: the first that is there counts."""
_DEEPEST = 8
"""Wrappers inside each other."""
_LONGEST_NAME = 1024
_NAMED = 4
"""Names of each kind that a message lists."""


@dataclass(frozen=True)
class Content:
    """What a file holds. weights: name -> tensor. key: where they lie in it, "" for at the top.

    left_out: keys of other networks, which lie beside it.
    """

    weights: dict[str, Tensor]
    key: str = ""
    left_out: tuple[str, ...] = ()


def read(path: Path) -> Content:
    """The weights in a file of safetensors or of torch: a state dict, or the one that a training script wrapped.

    A pickle that is more than tensors in plain containers is refused: loading it would run what is in it.
    Raises ValueError, in one line, for files that are none of these, and for weights that are not finite.
    """
    try:
        content = checkpoint_file.load(path)
        found = _weights_in(content, "", 0, {})
        if found is None:
            raise ValueError(f"it holds no weights, but {_what(content)}; allowed: a state dict, name -> tensor")
        _check(found.weights, checkpoint_file.most_bytes(path))
    except FileNotFoundError:
        raise ValueError(f"checkpoint {str(path)!r} is not there") from None
    except (OSError, ValueError) as error:
        said = error.strerror or error if isinstance(error, OSError) else error
        raise ValueError(f"checkpoint {str(path)!r} cannot be read: {said}") from error
    return found


def fit(model: Classifier, weights: Mapping[str, Tensor]) -> Match:
    """Load weights into a network whose parts have the same names, or the names of the usual CIFAR code.

    That is the layout of RobustBench's ResNets, PreActResNets and WideResNets, of torchvision's and timm's networks for
    the architectures of these libraries, and our own; below any prefix of a wrapper. The model keeps its normalisation.
    Returns where its parts lay, and what was left out. Raises ValueError, in one line, with what does not fit.
    """
    own = {name: tensor for name, tensor in model.state_dict().items() if name not in ("mean", "std")}
    found = checkpoint_names.match(own, weights)
    if found.num_problems:
        listed = (f"{len(names)} {what}: {in_words(names)}" for what, names in found.problems.items() if names)
        raise ValueError(f"the checkpoint does not fit the architecture: {'; '.join(listed)}")
    pairs = {name: weights[there] for name, there in found.pairs.items()}
    # Counters of batches are of no effect where a norm has a momentum, and old files have none.
    zeros = {name: torch.zeros_like(tensor) for name, tensor in own.items() if name not in pairs}
    model.load_state_dict({"mean": model.mean, "std": model.std, **zeros, **pairs})
    return found


def normalisation_in(
    weights: Mapping[str, Tensor], parts: Collection[str] = ()
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """(mean, std) a channel, in [0, 1] units, of a model that carries its normalisation; None if it has none.

    parts: names that are the network's own. What it normalises with by itself is not counted.
    Raises ValueError if the file has several that differ.
    """
    found = checkpoint_names.statistics(weights, set(parts))
    pairs = dict.fromkeys((tuple(mean.flatten().tolist()), tuple(std.flatten().tolist())) for mean, std in found)
    if len(pairs) > 1:
        listed = " and ".join(shown(pair) for pair in list(pairs)[:2])
        raise ValueError(f"it holds {len(pairs)} normalisations that differ: {listed}")
    return next(iter(pairs), None)


def in_words(names: Collection[str]) -> str:
    """The first of the names in one line, and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(shown(name)[1:-1] for name in list(names)[:_NAMED])}{more}"


def _weights_in(content: Any, key: str, depth: int, known: dict[int, Content | None]) -> Content | None:
    """The one state dict in what was loaded, however it is wrapped; averages of weights count where nothing else is.

    known: id of a mapping -> what was found in it; a mapping may hold itself, or another a thousand times.
    """
    if not isinstance(content, Mapping) or depth > _DEEPEST:
        return None
    if id(content) not in known:
        known[id(content)] = None
        known[id(content)] = _one_in(content, key, depth, known)
    return known[id(content)]


def _one_in(content: Mapping[Any, Any], key: str, depth: int, known: dict[int, Content | None]) -> Content | None:
    inner = {
        name: found
        for name, value in content.items()
        if isinstance(name, str) and isinstance(value, Mapping) and not checkpoint_names.is_of_training(name)
        if (found := _weights_in(value, name, depth + 1, known))
    }
    tensors = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}
    chosen = next((name for name in _WRAPPERS if name in inner), None)
    if chosen is None and any(not checkpoint_names.is_of_training(name) for name in tensors):
        return Content(tensors, key, tuple(inner))
    if chosen is None and inner:
        plain = [name for name in inner if not checkpoint_names.is_averaged(name)] or list(inner)
        if len(plain) > 1:
            allowed = f"one, or one under {', '.join(_WRAPPERS[:3])} or the like"
            raise ValueError(f"it holds several sets of weights, {in_words(plain)}; allowed: {allowed}")
        chosen = plain[0]
    if chosen is None:
        return Content(tensors, key) if tensors else None
    found = inner[chosen]
    return Content(found.weights, found.key, (*found.left_out, *(name for name in inner if name != chosen)))


def _what(content: Any) -> str:
    if isinstance(content, Mapping):
        return (
            f"a mapping with the keys {in_words([str(key)[:200] for key in content])}"
            if content
            else "an empty mapping"
        )
    return f"a value of type {type(content).__name__}"


def _check(weights: Mapping[str, Tensor], most_bytes: int) -> None:
    """Of each tensor: that it is numbers in memory, no more than a file of this size can give, and finite."""
    for name, tensor in weights.items():
        if len(name) > _LONGEST_NAME:
            raise ValueError(f"{shown(name)} is a name of {len(name):,} characters; allowed: up to {_LONGEST_NAME:,}")
        if what := _unusual(tensor):
            raise ValueError(f"{shown(name)} is {what}; allowed: plain numbers (dense, on the CPU)")
    held = sum(tensor.numel() * tensor.element_size() for tensor in weights.values())
    if held > most_bytes:
        largest = max(weights, key=lambda name: weights[name].numel() * weights[name].element_size())
        shape = shown(tuple(weights[largest].shape))
        allowed = f"allowed: up to {checkpoint_file.MOST_UNFOLDED} times its size"
        raise ValueError(f"its tensors have {held:,} bytes, the largest is {shown(largest)} {shape}; {allowed}")
    for name, tensor in weights.items():
        if checkpoint_names.is_float(tensor) and not bool(tensor.isfinite().all()):
            raise ValueError(f"{shown(name)} holds NaN or infinity")


def _unusual(tensor: Tensor) -> str:
    """What a tensor is that is no array of plain numbers, else ""."""
    if type(tensor) not in (Tensor, torch.nn.Parameter):
        return f"a {type(tensor).__name__}"
    if tensor.is_meta:
        return "a shape without numbers (device meta)"
    if tensor.is_nested:
        return "nested"
    if tensor.is_quantized:
        return f"quantised ({checkpoint_names.kind(tensor)})"
    if tensor.layout is not torch.strided:
        return f"sparse ({str(tensor.layout).removeprefix('torch.')})"
    return "" if tensor.device.type == "cpu" else f"on the device {tensor.device.type}"
