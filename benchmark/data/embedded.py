"""The data set inside the package: 13,000 Fashion-MNIST images, see embedded_files/CARD.md."""

import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch

from benchmark.data.fashion_mnist import CLASS_NAMES, MEAN, STD
from benchmark.data.images import Dataset, ImageData

FILE = Path(__file__).parent / "embedded_files" / "fashion_mnist_13k.npz"


class FashionMNIST13k(Dataset):
    """The first 1,100 training and 200 test images of each Fashion-MNIST class; needs no other file."""

    SOURCE = "Xiao, Rasul and Vollgraf 2017, arXiv 1708.07747"
    IN_PACKAGE = True

    def locate(self, root: Path | None) -> list[Path]:
        if not FILE.is_file():
            raise ValueError(f"fashion_mnist_13k: {FILE} is missing; reinstall the package")
        return [FILE]

    def load(self, root: Path | None) -> ImageData:
        try:
            with FILE.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                parts = [torch.from_numpy(arrays[f"{s}_{n}"]) for s in ("train", "test") for n in ("images", "labels")]
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            why = " ".join(str(error).split())
            raise ValueError(
                f"fashion_mnist_13k: {FILE} is missing or damaged ({why}); reinstall the package"
            ) from error
        images, labels, test_images, test_labels = parts
        return ImageData(
            images=images[:, None],
            labels=labels.long(),
            test_images=test_images[:, None],
            test_labels=test_labels.long(),
            class_names=CLASS_NAMES,
            mean=MEAN,
            std=STD,
            card="Fashion-MNIST subset, 11,000 + 2,000 test images of 28 x 28 grey pixels in 10 classes, MIT licence, "
            "Zalando Research (github.com/zalandoresearch/fashion-mnist), inside the package",
        )
