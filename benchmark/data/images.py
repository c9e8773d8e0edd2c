"""`ImageData` and `Dataset`: what every data set gives, as labelled training and test images with ids."""

import functools
import hashlib
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from benchmark.spec import Spec, SpecError
from benchmark.user_files.returned import check_tensor, described

DownloadField = Annotated[bool, Field(exclude=True)]
"""Whether a data set that is not there is fetched. Where images come from changes no number: it is in no key."""


@dataclass(frozen=True, eq=False)
class ImageData:
    """A data set in memory, as published: nothing is normalised, shuffled or left out.

    images, test_images: (N, C, H, W) uint8. labels, test_labels: (N,) int64 in [0, number of classes).
    mean, std: one number a channel in [0, 1] units, the data set's published constants; models normalise with them.
    card: one line for people: name, size, licence, source. read_s: what reading it took.

    One index space: ids below the number of training images are training images, in their order; the others are test
    images, id minus that number. Only a model that was trained elsewhere has test images among its non-members.
    """

    images: Tensor
    labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    card: str
    read_s: float = 0.0

    def __post_init__(self) -> None:
        """Raises SpecError, in one line: the field, what it is, what is allowed."""
        for part in ("", "test_"):
            images, labels = getattr(self, f"{part}images"), getattr(self, f"{part}labels")
            if not isinstance(images, Tensor) or images.ndim != 4 or images.dtype != torch.uint8 or not len(images):
                raise SpecError(f"{part}images: {described(images)}; allowed: uint8 of (N, C, H, W), N at least 1")
            if images.shape[1:] != self.images.shape[1:]:
                raise SpecError(f"{part}images: {described(images)}; allowed: of the shape of images")
            check_tensor(labels, f"{part}labels", (len(images),), torch.int64)
            low, high = int(labels.min()), int(labels.max())
            if low < 0 or high >= len(self.class_names):
                allowed = f"0 to {len(self.class_names) - 1}, a class name each"
                raise SpecError(f"{part}labels: from {low} to {high}; allowed: {allowed}")
        if not len(self.mean) == len(self.std) == self.images.shape[1]:
            given = f"{len(self.mean)} and {len(self.std)} numbers"
            raise SpecError(f"mean, std: {given}; allowed: one a channel, {self.images.shape[1]}")

    def pixels(self, ids: Tensor) -> Tensor:
        """(N,) ids -> their images (N, C, H, W) uint8."""
        return _take(self.images, self.test_images, ids)

    def classes(self, ids: Tensor) -> Tensor:
        """Ids of any shape -> their labels, int64, in that shape."""
        return _take(self.labels, self.test_labels, ids)

    def test_ids(self, places: Tensor) -> Tensor:
        """Places among the test images -> their ids."""
        return places + len(self.images)

    @functools.cached_property
    def fingerprint(self) -> str:
        """sha256 (64 hex digits) of the decoded content: shapes, images and labels."""
        digest = hashlib.sha256()
        for tensor in (self.images, self.labels, self.test_images, self.test_labels):
            digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
            digest.update(tensor.contiguous().numpy().data)
        return digest.hexdigest()


def _take(train: Tensor, test: Tensor, ids: Tensor) -> Tensor:
    """Rows of `train`, then `test`, at ids of any shape; joins them only where need be, since both may be large."""
    of_test = ids >= len(train)
    if not bool(of_test.any()):
        return train[ids]
    found = train.new_empty((*ids.shape, *train.shape[1:]))
    found[~of_test], found[of_test] = train[ids[~of_test]], test[ids[of_test] - len(train)]
    return found


class Dataset(Spec):
    """A data set by name. It reads local files, and fetches nothing unless its `download` says so.

    IN_PACKAGE: whether its files come with the package, so that every machine has them.
    """

    IN_PACKAGE: ClassVar[bool] = False

    def locate(self, root: Path | None) -> list[Path]:
        """The files that `load` will read, without opening one; fetched first if `download` says so.

        Raises ValueError as `load` does. `bench doctor` asks.
        """
        return []

    @abstractmethod
    def load(self, root: Path | None) -> ImageData:
        """Read it. root: the folder to look in first, if the user named one.

        Raises ValueError, in one line: which files were looked for, where, and how to get them.
        """
