"""SVHN (Netzer et al. 2011), cropped digits."""

from pathlib import Path

import torch
from torch import Tensor

from benchmark.data.arrays import to_labels, to_uint8
from benchmark.data.files import Files, locate
from benchmark.data.images import Dataset, DownloadField, ImageData

_HOST = "ufldl.stanford.edu"
_ADVICE = (
    "get them with `download: true` in the suite, or with torchvision.datasets.SVHN(root, split, download=True) for "
    "both splits and `--data-root root`"
)


class SVHN(Dataset):
    """73,257 training and 26,032 test images, 32 x 32 RGB, house-number digits. Files as of torchvision's SVHN."""

    SOURCE = "Netzer et al. 2011, Reading Digits in Natural Images with Unsupervised Feature Learning"
    download: DownloadField = False

    def load(self, root: Path | None) -> ImageData:
        files = Files("svhn", ("train_32x32.mat", "test_32x32.mat"), ("", "svhn"), _ADVICE, fetch=_fetch, host=_HOST)
        (images, labels), (test_images, test_labels) = (_read(path) for path in locate(files, root, self.download))
        return ImageData(
            images=images,
            labels=labels,
            test_images=test_images,
            test_labels=test_labels,
            class_names=tuple(str(digit) for digit in range(10)),
            mean=(0.4377, 0.4438, 0.4728),
            std=(0.1980, 0.2010, 0.1970),
            card=f"SVHN cropped digits, {len(images):,} + {len(test_images):,} test images of 32 x 32 RGB pixels in "
            f"10 classes, for research only ({_HOST}/housenumbers)",
        )


def _read(path: Path) -> tuple[Tensor, Tensor]:
    """Images (N, 3, 32, 32) uint8 and labels (N,); the file calls the digit 0 "10" and has the images last."""
    import scipy.io
    from scipy.io.matlab import MatReadError

    try:
        content = scipy.io.loadmat(path)
        pixels, digits = content["X"], content["y"]
    except (OSError, EOFError, ValueError, TypeError, KeyError, NotImplementedError, MatReadError) as error:
        why = " ".join(str(error).split())
        raise ValueError(f"svhn: {path} is damaged or no SVHN file ({why}); {_ADVICE}") from error
    if pixels.ndim != 4 or pixels.shape[:3] != (32, 32, 3):
        raise ValueError(f"svhn: {path} has images of shape {pixels.shape}; allowed: (32, 32, 3, N)")
    images = to_uint8(f"svhn: {path}", pixels.transpose(3, 2, 0, 1))
    labels = to_labels(f"svhn: {path}", digits.ravel(), len(images), 11)
    return images, torch.where(labels == 10, 0, labels)


def _fetch(folder: Path) -> None:
    from torchvision.datasets import SVHN as Fetcher

    for split in ("train", "test"):
        Fetcher(folder, split, download=True)
