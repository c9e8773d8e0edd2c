"""What every data set gives: labelled training and test images, and who they are."""

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmark.spec import Spec


@dataclass(frozen=True, eq=False)
class ImageData:
    """A data set in memory, as published: nothing is normalised, shuffled or left out.

    images, test_images: (N, C, H, W) uint8. labels, test_labels: (N,) int64 in [0, number of classes).
    mean, std: one number a channel in [0, 1] units, the data set's published constants; models normalise with them.
    card: one line for people: name, size, licence, source.
    """

    images: Tensor
    labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    card: str

    def __post_init__(self) -> None:
        for images, labels in ((self.images, self.labels), (self.test_images, self.test_labels)):
            assert images.dtype == torch.uint8
            assert images.ndim == 4
            assert images.shape[1:] == self.images.shape[1:]
            assert labels.dtype == torch.int64
            assert labels.shape == (len(images),)
            assert len(labels) > 0
            assert 0 <= int(labels.min()) <= int(labels.max()) < len(self.class_names)
        assert len(self.mean) == len(self.std) == self.images.shape[1]

    @functools.cached_property
    def fingerprint(self) -> str:
        """sha256 (64 hex digits) of the decoded content: shapes, images and labels."""
        digest = hashlib.sha256()
        for tensor in (self.images, self.labels, self.test_images, self.test_labels):
            digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
            digest.update(tensor.contiguous().numpy().data)
        return digest.hexdigest()


class Dataset(Spec):
    """A data set by name. It reads local files only and never downloads."""

    def load(self, root: Path | None) -> ImageData:
        """Read it. root: the folder to look in first, if the user named one.

        Raises ValueError, in one line: which files were looked for, where, and how to get them.
        """
        raise NotImplementedError
