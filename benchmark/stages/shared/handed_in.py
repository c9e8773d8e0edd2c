"""Reads adversarial images that somebody hands in. Whatever is not as it must be is refused, nothing is mended."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmark.data.formats.files import MALFORMED, one_line
from benchmark.evasion.norms import NORMS
from benchmark.models import checkpoint_file
from benchmark.reading.text import shown
from benchmark.regimes.regime import to_float
from benchmark.stages.shared.judged_attack import ROUNDING
from benchmark.user_files.returned import dtype_name

SUFFIXES = (".npz", ".safetensors")
_IDS, _IMAGES = "test_ids", "images"
_FLOATS = (torch.float32, torch.float64)
_SLACK = 2**20
"""Bytes of names and shapes in a file."""


@dataclass(frozen=True)
class HandedIn:
    """ids: (N,) int64 of test images, each once. images: (N, C, H, W) float32 in [0, 1]."""

    ids: Tensor
    images: Tensor

    def placed(self, ids: Tensor, clean: Tensor) -> tuple[Tensor, Tensor]:
        """For the test images with these ids (M,), of which `clean` are the pixels (M, C, H, W): what was handed in,
        (M, C, H, W), the clean image where nothing was; and (M,) bool, where something was.
        """
        places = {test_id: place for place, test_id in enumerate(self.ids.tolist())}
        found = torch.tensor([places.get(test_id, -1) for test_id in ids.tolist()], dtype=torch.int64)
        there = found >= 0
        moved = clean.clone()
        moved[there] = self.images[found[there]]
        return moved, there


def read(path: Path, test_images: Tensor) -> HandedIn:
    """The file's content, of whichever test images. test_images: (T, C, H, W) uint8, all of the data set.

    .npz or .safetensors with `test_ids`, (N,) whole numbers, places among the test images, each once; and `images`,
    (N, C, H, W), uint8, or float32 or float64 in [0, 1].
    Raises ValueError, in one line, for anything else.
    """
    name = repr(str(path))
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{name} holds no adversarial images; allowed: {', '.join(SUFFIXES)}")
    try:
        arrays = _npz(path, test_images) if path.suffix.lower() == ".npz" else checkpoint_file.load(path)
    except (*MALFORMED, NotImplementedError) as error:
        raise ValueError(f"{name} cannot be read: {one_line(error)}") from error
    if not isinstance(arrays, dict) or arrays.keys() != {_IDS, _IMAGES}:
        listed = shown(", ".join(map(str, arrays)) if isinstance(arrays, dict) else type(arrays).__name__)
        raise ValueError(f"{name} holds {listed or 'nothing'}; allowed: {_IDS} and {_IMAGES}")
    ids = _ids(arrays[_IDS], name, len(test_images))
    return HandedIn(ids, _images(arrays[_IMAGES], name, ids, tuple(test_images.shape[1:])))


def check_ball(handed_in: HandedIn, test_images: Tensor, norm: str, epsilon: float) -> None:
    """Raise ValueError, in one line and without the file's name, for images outside the ball: which, and how far."""
    for ids, images in zip(handed_in.ids.split(1024), handed_in.images.split(1024), strict=True):
        sizes = NORMS[norm].size(images - to_float(test_images[ids]))
        worst = int(sizes.argmax())
        if float(sizes[worst]) > epsilon + ROUNDING:
            raise ValueError(
                f"the image of test id {int(ids[worst])} is {float(sizes[worst]):.6g} away ({norm}), "
                f"{float(sizes[worst]) - epsilon:.2g} too far; allowed: {epsilon:.6g}"
            )


def _npz(path: Path, test_images: Tensor) -> dict[str, Tensor]:
    """Raises ValueError before it unpacks more than test images can be."""
    with zipfile.ZipFile(path) as archive:
        unpacked, most = sum(entry.file_size for entry in archive.infolist()), 8 * test_images.numel() + _SLACK
        if unpacked > most:
            raise ValueError(f"it unpacks to {unpacked:,} bytes; allowed: up to {most:,}, all test images as float64")
    with np.load(path, allow_pickle=False) as file:
        return {name: _tensor(name, file[name]) for name in file.files}


def _tensor(name: str, array: np.ndarray) -> Tensor:
    if array.dtype.kind not in "uif":
        raise ValueError(f"{name} is of type {array.dtype}; allowed: numbers")
    return torch.from_numpy(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="))))


def _ids(ids: Tensor, name: str, num_test: int) -> Tensor:
    if ids.ndim != 1 or ids.dtype.is_floating_point or ids.dtype.is_complex or ids.dtype == torch.bool or not len(ids):
        held = f"{dtype_name(ids.dtype)} of {tuple(ids.shape)}"
        raise ValueError(f"{name}: {_IDS} are {held}; allowed: whole numbers of (N,), at least one")
    ids = ids.long()
    outside = ids[(ids < 0) | (ids >= num_test)]
    if len(outside):
        raise ValueError(f"{name}: {_IDS} hold {int(outside[0])}, no test image; allowed: 0 to {num_test - 1}")
    ordered = ids.sort().values
    again = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(again):
        raise ValueError(f"{name}: {_IDS} hold {int(again[0])} twice; allowed: each test image once")
    return ids


def _images(images: Tensor, name: str, ids: Tensor, shape: tuple[int, ...]) -> Tensor:
    wanted = (len(ids), *shape)
    if tuple(images.shape) != wanted:
        raise ValueError(f"{name}: {_IMAGES} have shape {tuple(images.shape)}; allowed: {wanted}")
    if images.dtype == torch.uint8:
        return to_float(images)
    if images.dtype not in _FLOATS:
        allowed = "uint8, or float32 or float64 in [0, 1]"
        raise ValueError(f"{name}: {_IMAGES} are {dtype_name(images.dtype)}; allowed: {allowed}")
    flat = images.flatten(1)
    if not bool((finite := flat.isfinite().all(1)).all()):
        raise ValueError(f"{name}: the image of test id {int(ids[~finite][0])} holds NaN or infinity")
    if not bool((inside := ((flat >= 0) & (flat <= 1)).all(1)).all()):
        wrong = flat[~inside][0]
        reach = f"from {float(wrong.min()):.6g} to {float(wrong.max()):.6g}"
        raise ValueError(f"{name}: the image of test id {int(ids[~inside][0])} has pixels {reach}; allowed: [0, 1]")
    return images.float()
