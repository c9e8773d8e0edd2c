"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009), in the Python batches that their author ships."""

import codecs
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.data.arrays import to_labels
from benchmark.data.files import Files, locate
from benchmark.data.images import Dataset, DownloadField, ImageData

_HOST = "www.cs.toronto.edu"
_STATISTICS = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
}


class CIFAR10(Dataset):
    """50,000 training and 10,000 test images, 32 x 32 RGB, 10 classes. Files as of torchvision's CIFAR10."""

    SOURCE = "Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images"
    download: DownloadField = False

    def load(self, root: Path | None) -> ImageData:
        batches = [f"data_batch_{i}" for i in range(1, 6)]
        return _load("cifar10", [*batches, "test_batch", "batches.meta"], b"labels", root, self.download)


class CIFAR100(Dataset):
    """50,000 training and 10,000 test images, 32 x 32 RGB, 100 classes. Files as of torchvision's CIFAR100."""

    SOURCE = "Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images"
    download: DownloadField = False

    def load(self, root: Path | None) -> ImageData:
        return _load("cifar100", ["train", "test", "meta"], b"fine_labels", root, self.download)


def _load(name: str, names: list[str], key: bytes, root: Path | None, download: bool) -> ImageData:
    """names: of the training batches, the test batch, and the file with the class names."""
    folder = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}[name]

    def fetch(place: Path) -> None:
        from torchvision import datasets

        {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name](place, download=True)

    advice = (
        f"get them with `download: true` in the suite, or unpack {folder.replace('-batches-py', '-python')}.tar.gz "
        f"from {_HOST}/~kriz/cifar.html into a folder and name it with `--data-root`"
    )
    files = Files(name, tuple(names), (folder, ""), advice, fetch=fetch, host=_HOST)
    *paths, meta = locate(files, root, download)
    names_key = b"label_names" if name == "cifar10" else b"fine_label_names"
    class_names = tuple(text.decode() for text in _unpickled(name, meta, advice)[names_key])
    parts = [_batch(name, path, key, len(class_names), advice) for path in paths]
    images, labels = (torch.cat([part[i] for part in parts[:-1]]) for i in (0, 1))
    test_images, test_labels = parts[-1]
    mean, std = _STATISTICS[name]
    card = (
        f"{name.upper().replace('CIFAR', 'CIFAR-')}, {len(images):,} + {len(test_images):,} test images of 32 x 32 RGB "
        f"pixels in {len(class_names)} classes, Alex Krizhevsky ({_HOST}/~kriz/cifar.html)"
    )
    return ImageData(images, labels, test_images, test_labels, class_names, mean, std, card)


def _batch(name: str, path: Path, key: bytes, num_classes: int, advice: str) -> tuple[Tensor, Tensor]:
    """Images (N, 3, 32, 32) uint8 and labels (N,) of one batch."""
    content = _unpickled(name, path, advice)
    data, labels = content.get(b"data"), content.get(key)
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3072:
        raise ValueError(f"{name}: {path} has no uint8 array b'data' of 3072 columns; {advice}")
    if not isinstance(labels, list) or not labels or not all(isinstance(label, int) for label in labels):
        raise ValueError(f"{name}: {path} has no list {key!r} of whole numbers; {advice}")
    images = torch.from_numpy(data.reshape(-1, 3, 32, 32).copy())
    return images, to_labels(f"{name}: {path}", np.array(labels), len(images), num_classes)


class _ArraysOnly(pickle.Unpickler):
    """Admits what the real batches hold, numpy arrays in plain containers, and refuses all else.

    A pickle is a program, and the stranger's file may say anything.
    """

    def find_class(self, module: str, name: str) -> Any:
        # The function that numpy's pickles name, by whatever module path their numpy had.
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return np.empty(0).__reduce__()[0]
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        if (module, name) == ("_codecs", "encode"):  # how Python 3 writes bytes for Python 2
            return codecs.encode
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no CIFAR batch needs")


def _unpickled(name: str, path: Path, advice: str) -> dict[bytes, Any]:
    try:
        with path.open("rb") as file:
            content = _ArraysOnly(file, encoding="bytes").load()
    except (OSError, EOFError, pickle.UnpicklingError, ValueError, TypeError, AttributeError, IndexError) as error:
        why = " ".join(str(error).split())
        raise ValueError(f"{name}: {path} is damaged or no CIFAR batch ({why}); {advice}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{name}: {path} holds a {type(content).__name__}, and no CIFAR batch; {advice}")
    return content
