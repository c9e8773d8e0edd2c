"""SVHN (Netzer et al. 2011), cropped digits."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmark.data.formats.arrays import to_labels, to_uint8
from benchmark.data.formats.files import MALFORMED, Files, locate, one_line
from benchmark.data.images import Dataset, DownloadField, ImageData

_ADVICE = (
    "get them with `download: true` in the suite, or with torchvision.datasets.SVHN(root, split, download=True) for "
    "both splits and `--data-root root`"
)


class SVHN(Dataset):
    """73,257 training and 26,032 test images, 32 x 32 RGB, house-number digits. Files as of torchvision's SVHN."""

    SOURCE = "Netzer et al. 2011, Reading Digits in Natural Images with Unsupervised Feature Learning"
    download: DownloadField = False

    def locate(self, root: Path | None) -> list[Path]:
        names = ("train_32x32.mat", "test_32x32.mat")
        files = Files("svhn", names, ("", "svhn"), _ADVICE, fetch=_fetch, urls=_urls)
        return locate(files, root, self.download)

    def load(self, root: Path | None) -> ImageData:
        (images, labels), (test_images, test_labels) = (_read(path) for path in self.locate(root))
        return ImageData(
            images=images,
            labels=labels,
            test_images=test_images,
            test_labels=test_labels,
            class_names=tuple(str(digit) for digit in range(10)),
            mean=(0.4377, 0.4438, 0.4728),
            std=(0.1980, 0.2010, 0.1970),
            card=f"SVHN cropped digits, {len(images):,} + {len(test_images):,} test images of 32 x 32 RGB pixels in "
            "10 classes, for research only (ufldl.stanford.edu/housenumbers)",
        )


def _read(path: Path) -> tuple[Tensor, Tensor]:
    """Images (N, 3, 32, 32) uint8 and labels (N,); the file calls the digit 0 "10" and has the images last."""
    import scipy.io
    from scipy.io.matlab import MatReadError

    try:
        content = scipy.io.loadmat(path, variable_names=("X", "y"))
        pixels, digits = np.asarray(content["X"]), np.asarray(content["y"]).ravel()
    except (*MALFORMED, NotImplementedError, MatReadError) as error:
        why = one_line(error)
        raise ValueError(f"svhn: {path} is damaged or no SVHN file ({why}); {_ADVICE}") from error
    if pixels.ndim != 4 or pixels.shape[:3] != (32, 32, 3):
        raise ValueError(f"svhn: {path} has images of shape {pixels.shape}; allowed: (32, 32, 3, N)")
    images = to_uint8(f"svhn: {path}", pixels.transpose(3, 2, 0, 1))
    labels = to_labels(f"svhn: {path}", digits, len(images), 11)
    return images, torch.where(labels == 10, 0, labels)


def _urls() -> list[str]:
    from torchvision.datasets import SVHN as Fetcher

    return [Fetcher.split_list["train"][0]]


def _fetch(folder: Path) -> None:
    from torchvision.datasets import SVHN as Fetcher

    for split in ("train", "test"):
        Fetcher(folder, split, download=True)
