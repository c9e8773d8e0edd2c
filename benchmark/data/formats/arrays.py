"""Checks arrays of images and labels, and makes an `ImageData` of them."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from benchmark.data.images import ImageData
from benchmark.reading.text import printable

Array = npt.NDArray[np.generic]
Part = tuple[Tensor, Tensor]
"""Images (N, C, H, W) uint8 and their labels (N,)."""
TEST_SHARE = 0.2
"""Of each class, held out where a data set has no test images of its own."""
_ROUNDING = 1e-6
"""More than float32 loses on its way to [0, 1] and back."""


def to_uint8(where: str, images: Array) -> Tensor:
    """Images of any layout as (N, C, H, W) uint8; floats in [0, 1] are rounded to the nearest of 256 levels.

    images: (N, H, W), (N, H, W, C) or (N, C, H, W) with C 1 or 3; uint8, or float in [0, 1].
    Raises ValueError naming `where` for other shapes and types, NaN, and values outside [0, 1].
    """
    if images.ndim == 4 and images.shape[1] in (1, 3) and images.shape[3] in (1, 3):
        raise ValueError(
            f"{where}: images of shape {images.shape} may have their channels second or last; allowed: one"
        )
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[1] not in (1, 3) and images.shape[3] in (1, 3):
        images = images.transpose(0, 3, 1, 2)
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
        raise ValueError(
            f"{where}: images have shape {images.shape}; allowed: (N, H, W), (N, H, W, C) or (N, C, H, W), C 1 or 3"
        )
    if images.dtype == np.uint8:
        return torch.from_numpy(np.ascontiguousarray(images))
    if not np.issubdtype(images.dtype, np.floating):
        raise ValueError(f"{where}: images are of type {images.dtype}; allowed: uint8, or float in [0, 1]")
    bad = ~np.isfinite(images).reshape(len(images), -1).all(1)
    if bad.any():
        raise ValueError(f"{where}: {int(bad.sum())} images hold NaN or infinity, the first is {int(bad.argmax())}")
    low, high = float(images.min()), float(images.max())
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        raise ValueError(f"{where}: pixels reach from {low:.4g} to {high:.4g}; allowed: floats in [0, 1], or uint8")
    return torch.from_numpy(np.ascontiguousarray(np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8)))


def to_labels(where: str, labels: Array, num_images: int, num_classes: int | None = None) -> Tensor:
    """Integer labels (N,) as int64. Raises ValueError for another type, count or range.

    num_classes: default: as many as there may be, one an image.
    """
    if labels.ndim != 1 or len(labels) != num_images:
        raise ValueError(f"{where}: labels have shape {labels.shape}; allowed: one for each of {num_images} images")
    if labels.dtype.kind not in "iu":
        raise ValueError(f"{where}: labels are of type {labels.dtype}; allowed: whole numbers from 0")
    low, high = int(labels.min()), int(labels.max())
    largest = (num_images if num_classes is None else num_classes) - 1
    if low < 0 or high > largest:
        wrong = low if low < 0 else high
        raise ValueError(
            f"{where}: image {int((labels == wrong).argmax())} holds label {wrong}; allowed: 0 to {largest}"
        )
    return torch.from_numpy(labels.astype(np.int64))


def image_data(
    where: str,
    train: Part,
    test: Part | None,
    class_names: tuple[str, ...],
    card: str,
    statistics: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
) -> ImageData:
    """train, test: images (N, C, H, W) uint8 and labels (N,); no test: a share of the training images is held out.

    statistics: published mean and standard deviation a channel; default: those of the training images. Names are made
    safe to show: those of folders may be no text at all.
    Raises ValueError for classes without images, for test images of another size, and for pixels that are nearly black
    since they were meant as 0 to 1.
    """
    class_names = tuple(map(printable, class_names))
    _refuse_black(f"{where}: no pixel of the training images", train[0])
    if test is not None:
        _refuse_black(f"{where}: no pixel of the test images", test[0])
    images, labels = train
    if test is None:
        held_out = held_out_for_test(labels)
        test = (images[held_out], labels[held_out])
        images, labels = images[~held_out], labels[~held_out]
    if test[0].shape[1:] != images.shape[1:]:
        sizes = " and ".join(" x ".join(map(str, part.shape[1:])) for part in (images, test[0]))
        raise ValueError(f"{where}: training and test images are of {sizes} pixels; allowed: one size")
    for what, part in (("training", labels), ("test", test[1])):
        empty = (part.bincount(minlength=len(class_names)) == 0).nonzero().flatten().tolist()
        if empty:
            names = ", ".join(class_names[i] for i in empty[:5])
            raise ValueError(f"{where}: {len(empty)} classes have no {what} image: {names}; allowed: at least one each")
    mean, std = statistics or channel_statistics(images)
    return ImageData(images, labels, *test, class_names=class_names, mean=mean, std=std, card=card)


def _refuse_black(no_pixel: str, images: Tensor) -> None:
    if len(images) and int(images.max()) <= 1:
        raise ValueError(
            f"{no_pixel} is above {int(images.max())} of 255: are these in [0, 1]? allowed: uint8 from 0 to 255, or "
            "float in [0, 1]"
        )


def held_out_for_test(labels: Tensor) -> Tensor:
    """(N,) bool: a fixed fifth of each class, at least one image, the same on every machine."""
    generator = torch.Generator().manual_seed(0)
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique().tolist():
        own = (labels == label).nonzero()[:, 0]
        own = own[torch.randperm(len(own), generator=generator)]
        chosen[own[: max(1, round(TEST_SHARE * len(own)))]] = True
    return chosen


def channel_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, in [0, 1] units; images: (N, C, H, W) uint8."""
    histograms = torch.stack([channel.flatten().bincount(minlength=256) for channel in images.transpose(0, 1)]).double()
    shares, levels = histograms / histograms.sum(1, keepdim=True), torch.arange(256).double() / 255
    mean = shares @ levels
    std = (shares @ levels.square() - mean.square()).clamp(min=0).sqrt()
    return tuple(mean.tolist()), tuple(std.clamp(min=1 / 255).tolist())


def numbered(count: int) -> tuple[str, ...]:
    """Names of classes that have none."""
    return tuple(f"class {i}" for i in range(count))


def size_card(path: Path, train: Part, test: Part | None, names: tuple[str, ...]) -> str:
    """A line on a user's own data set."""
    _, channels, height, width = train[0].shape
    colour = "RGB" if channels == 3 else "grey"
    count = len(train[1]) + (len(test[1]) if test else 0)
    return f"{path.name}, {count:,} images of {width} x {height} {colour} pixels in {len(names)} classes"


def resized(images: Tensor, size: int) -> Tensor:
    """(N, C, H, W) uint8 -> (N, C, size, size) uint8: bilinear, averaging where it shrinks."""
    if images.shape[2:] == (size, size):
        return images
    parts = [
        functional.interpolate(part.float(), (size, size), mode="bilinear", antialias=True).round_().clamp_(0, 255)
        for part in images.split(1024)
    ]
    return torch.cat([part.to(torch.uint8) for part in parts])
