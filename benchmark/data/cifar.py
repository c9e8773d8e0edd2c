"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009), in the Python batches that their author ships."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.data.formats.arrays import to_labels
from benchmark.data.formats.files import Files, locate
from benchmark.data.formats.unpickle import arrays_in_containers
from benchmark.data.images import Dataset, DownloadField, ImageData

_HOST = "www.cs.toronto.edu"
_FOLDERS = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}
_STATISTICS = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
}


class CIFAR10(Dataset):
    """50,000 training and 10,000 test images, 32 x 32 RGB, 10 classes. Files as of torchvision's CIFAR10."""

    SOURCE = "Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images"
    download: DownloadField = False

    def locate(self, root: Path | None) -> list[Path]:
        batches = [f"data_batch_{i}" for i in range(1, 6)]
        return locate(_files("cifar10", (*batches, "test_batch", "batches.meta")), root, self.download)

    def load(self, root: Path | None) -> ImageData:
        return _load("cifar10", self.locate(root), b"labels", b"label_names")


class CIFAR100(Dataset):
    """50,000 training and 10,000 test images, 32 x 32 RGB, 100 classes. Files as of torchvision's CIFAR100."""

    SOURCE = "Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images"
    download: DownloadField = False

    def locate(self, root: Path | None) -> list[Path]:
        return locate(_files("cifar100", ("train", "test", "meta")), root, self.download)

    def load(self, root: Path | None) -> ImageData:
        return _load("cifar100", self.locate(root), b"fine_labels", b"fine_label_names")


def _files(name: str, names: tuple[str, ...]) -> Files:
    def fetcher() -> Any:
        from torchvision import datasets

        return {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]

    return Files(
        name,
        names,
        (_FOLDERS[name], ""),
        _advice(name),
        fetch=lambda place: fetcher()(place, download=True),
        urls=lambda: [fetcher().url],
    )


def _advice(name: str) -> str:
    return (
        f"get them with `download: true` in the suite, or unpack {_FOLDERS[name].replace('-batches-py', '-python')}"
        f".tar.gz from {_HOST}/~kriz/cifar.html into a folder and name it with `--data-root`"
    )


def _load(name: str, located: list[Path], labels_key: bytes, names_key: bytes) -> ImageData:
    """located: the training batches, the test batch, and the file with the class names."""
    *paths, meta = located
    advice = _advice(name)
    names = _unpickled(name, meta, advice).get(names_key)
    if not isinstance(names, list) or not names or not all(isinstance(text, bytes | str) for text in names):
        raise ValueError(f"{name}: {meta} has no list {names_key!r} of class names; {advice}")
    class_names = tuple(text.decode("utf-8", "replace") if isinstance(text, bytes) else text for text in names)
    parts = [_batch(name, path, labels_key, len(class_names), advice) for path in paths]
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


def _unpickled(name: str, path: Path, advice: str) -> dict[bytes, Any]:
    try:
        content = arrays_in_containers(path)
    except ValueError as error:
        raise ValueError(f"{name}: {path} is damaged or no CIFAR batch ({error}); {advice}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{name}: {path} holds a {type(content).__name__}, and no CIFAR batch; {advice}")
    return content
