"""What a caller has in memory, as files that are named by their content: weights, images, lists of members."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from benchmark.data import cache
from benchmark.reading.text import shown
from benchmark.spec import SpecError

PARTS = ("images", "labels", "test_images", "test_labels")


def keep_weights(network: nn.Module, prefix: str = "") -> Path:
    """The state dict as safetensors; floats as float32. prefix: of the names in the file."""
    tensors = {}
    for name, tensor in network.state_dict().items():
        if not isinstance(tensor, Tensor):
            raise SpecError(f"model: {name!r} in its state dict is a {type(tensor).__name__}; allowed: tensors alone")
        kept = tensor.detach().cpu()
        # A copy: the format wants each tensor to have memory of its own, and weights may be tied.
        tensors[prefix + name] = (kept.float() if kept.is_floating_point() else kept).clone().contiguous()
    if not tensors:
        raise SpecError(f"model: {type(network).__name__} has no weights; allowed: a network with parameters")
    return cache.put(lambda path: save_file(tensors, path), ".safetensors")


def keep_images(data: Sequence[Any]) -> Path:
    """(images, labels, test_images, test_labels) as .npz, for the data set `npz`.

    images: (N, C, H, W), (N, H, W, C) or (N, H, W), uint8 or float in [0, 1]; arrays or tensors. labels: (N,) integers.
    Raises SpecError for other than four arrays; what they hold is checked when they are read.
    """
    if len(data) != len(PARTS):
        why = "; a model's own test images tell what it does on images that it has not seen" if len(data) == 2 else ""
        raise SpecError(f"data: {len(data)} arrays; allowed: ({', '.join(PARTS)}){why}")
    arrays = {name: _array(f"data: {name}", part) for name, part in zip(PARTS, data, strict=True)}
    return cache.put(lambda path: _save_arrays(path, arrays), ".npz")


def keep_members(members: Any) -> Path:
    """Ids of training images, or a bool for each, as .npy. Raises SpecError for what is no list of numbers."""
    ids = _array("members", members)
    if ids.ndim != 1 or ids.dtype.kind not in "iub":
        allowed = "'all', {'first': N}, a file, ids of training images, or a bool for each"
        raise SpecError(f"members: {ids.dtype} of shape {ids.shape}; allowed: {allowed}")

    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.save(file, ids, allow_pickle=False)

    return cache.put(write, ".npy")


def _array(what: str, value: Any) -> npt.NDArray[Any]:
    try:
        return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
    except (TypeError, ValueError) as error:
        raise SpecError(f"{what}: {shown(value)} is not allowed; allowed: an array or a tensor") from error


def _save_arrays(path: Path, arrays: dict[str, npt.NDArray[Any]]) -> None:
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
