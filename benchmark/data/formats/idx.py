"""Reads the IDX files of the MNIST family, with torchvision's own readers."""

import gzip
import math
import struct
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def read(data_set: str, paths: list[Path], num_classes: int, advice: str) -> list[Tensor]:
    """Images (N, 28, 28) uint8 and labels (N,) int64 of the training set, then of the test set.

    paths: the four FILES, plain or .gz. Raises ValueError naming the file that is damaged or foreign.
    """
    tensors = [_read_file(data_set, path, advice) for path in paths]
    for i in (0, 2):
        images, labels = tensors[i], tensors[i + 1]
        if images.shape[1:] != (28, 28) or len(images) != len(labels) or len(labels) == 0:
            shapes = f"shapes {tuple(images.shape)} and {tuple(labels.shape)}"
            raise ValueError(f"{data_set}: {paths[i]} and its labels have {shapes}; allowed: (N, 28, 28) and (N,)")
        if int(labels.max()) >= num_classes:
            held = f"holds label {int(labels.max())}; allowed: 0 to {num_classes - 1}"
            raise ValueError(f"{data_set}: {paths[i + 1]} {held}")
    return tensors


def _read_file(data_set: str, path: Path, advice: str) -> Tensor:
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        _check(path, content)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        why = " ".join(str(error).split())
        raise ValueError(f"{data_set}: {path} is damaged or no IDX file ({why}); {advice}") from error
    from torchvision.datasets import mnist

    reader: Callable[[str], Tensor] = mnist.read_image_file if _holds_images(path) else mnist.read_label_file
    if path.suffix != ".gz":
        return reader(str(path))
    with tempfile.TemporaryDirectory() as folder:  # torchvision reads plain files only
        plain = Path(folder) / path.stem
        plain.write_bytes(content)
        return reader(str(plain))


def _check(path: Path, content: bytes) -> None:
    """Refuse what torchvision's reader would meet with an assertion, before seconds go into importing it."""
    num_dimensions = 3 if _holds_images(path) else 1
    if content[:4] != bytes([0, 0, 8, num_dimensions]):
        raise ValueError(f"it begins with {content[:4].hex(' ') or 'nothing'}")
    header = 4 * (1 + num_dimensions)
    size = header + math.prod(struct.unpack(f">{num_dimensions}I", content[4:header].ljust(header - 4, b"\0")))
    if len(content) != max(size, header):
        raise ValueError(f"it holds {len(content)} bytes, and by its header {size}")


def _holds_images(path: Path) -> bool:
    return "images" in path.name
