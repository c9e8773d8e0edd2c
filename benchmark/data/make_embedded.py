"""Makes the embedded data set from Fashion-MNIST's files: `python -m benchmark.data.make_embedded SOURCE_DIR`."""

import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.data.embedded import FILE
from benchmark.data.fashion_mnist import CLASS_NAMES, files, read
from benchmark.data.formats.files import locate

NUM_TRAIN, NUM_TEST = 1_100, 200
"""Images a class."""


def select(source: Path) -> dict[str, NDArray[np.generic]]:
    """The arrays of the file: {train,test}_{images,labels,index}; index: place in Fashion-MNIST's own files.

    Fashion-MNIST comes shuffled, so the first images of each class are as good a sample as any, and everyone can
    check which they are. Raises ValueError if `source` does not hold the data set.
    """
    images, labels, test_images, test_labels = read(locate(files(), source))
    arrays: dict[str, NDArray[np.generic]] = {}
    splits = (("train", images, labels, NUM_TRAIN), ("test", test_images, test_labels, NUM_TEST))
    for split, split_images, split_labels, num in splits:
        index = first_of_each_class(split_labels, num)
        arrays[f"{split}_images"] = split_images[index].numpy()
        arrays[f"{split}_labels"] = split_labels[index].to(torch.uint8).numpy()
        arrays[f"{split}_index"] = index.to(torch.int32).numpy()
    return arrays


def first_of_each_class(labels: Tensor, num: int) -> Tensor:
    """Ascending indices (10 * num,) of the first `num` of each of the 10 classes in labels (N,)."""
    found = [(labels == label).nonzero()[:num, 0] for label in range(len(CLASS_NAMES))]
    for label, index in enumerate(found):
        if len(index) < num:
            raise ValueError(f"class {label} has {len(index)} images; allowed: at least {num}")
    return torch.cat(found).sort().values


def write(source: Path, target: Path = FILE) -> None:
    """Write the embedded file. Equal input gives equal bytes: numpy puts no time into an .npz."""
    np.savez_compressed(target, allow_pickle=False, **select(source))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m benchmark.data.make_embedded SOURCE_DIR")
    write(Path(sys.argv[1]))
    sys.stdout.write(f"{FILE}: {FILE.stat().st_size / 1e6:.2f} MB\n")
