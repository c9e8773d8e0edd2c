"""Fashion-MNIST (Xiao, Rasul and Vollgraf 2017, arXiv 1708.07747), read by torchvision's own readers."""

import gzip
import math
import os
import struct
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from benchmark.data.images import Dataset, ImageData

CLASS_NAMES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
MEAN, STD = (0.2860,), (0.3530,)
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_ADVICE = (
    "get them with `apt-get install dataset-fashion-mnist`, "
    "or with torchvision.datasets.FashionMNIST(root, download=True) and `--data-root root`"
)


class FashionMNIST(Dataset):
    """All 60,000 training and 10,000 test images, 28 x 28 grey, 10 classes of clothes.

    The four IDX files, plain or .gz, are looked for in the given root, in $BENCH_DATA (each also in its
    `FashionMNIST/raw`, where torchvision puts them) and in the folder of Debian's `dataset-fashion-mnist`.
    """

    SOURCE = "Xiao, Rasul and Vollgraf 2017, arXiv 1708.07747"

    def load(self, root: Path | None) -> ImageData:
        images, labels, test_images, test_labels = read(find(_folders(root)))
        return ImageData(
            images=images[:, None],
            labels=labels,
            test_images=test_images[:, None],
            test_labels=test_labels,
            class_names=CLASS_NAMES,
            mean=MEAN,
            std=STD,
            card=f"Fashion-MNIST, {len(images):,} + {len(test_images):,} test images of 28 x 28 grey pixels in "
            "10 classes, MIT licence, Zalando Research (github.com/zalandoresearch/fashion-mnist)",
        )


def _folders(root: Path | None) -> list[Path]:
    named = [root] if root is not None else []
    if os.environ.get("BENCH_DATA"):
        named.append(Path(os.environ["BENCH_DATA"]))
    return [f for folder in named for f in (folder, folder / "FashionMNIST" / "raw")] + [DEBIAN_FOLDER]


def find(folders: list[Path]) -> list[Path]:
    """The four files, from the first folder that has them all. Raises ValueError if none has."""
    for folder in folders:
        found = [p for name in FILES for p in (folder / name, folder / f"{name}.gz") if p.is_file()]
        if {p.name.removesuffix(".gz") for p in found} == set(FILES):
            return [next(p for p in found if p.name.removesuffix(".gz") == name) for name in FILES]
    where = ", ".join(str(folder) for folder in folders)
    raise ValueError(f"fashion_mnist: no folder holds {', '.join(FILES)} (plain or .gz); looked in {where}; {_ADVICE}")


def read(paths: list[Path]) -> list[Tensor]:
    """Images (N, 28, 28) uint8 and labels (N,) int64 of the training set, then of the test set.

    paths: the four FILES. Raises ValueError naming the file that is damaged or foreign.
    """
    tensors = [_read_file(path) for path in paths]
    for i in (0, 2):
        images, labels = tensors[i], tensors[i + 1]
        if images.shape[1:] != (28, 28) or len(images) != len(labels) or len(labels) == 0:
            shapes = f"shapes {tuple(images.shape)} and {tuple(labels.shape)}"
            raise ValueError(f"fashion_mnist: {paths[i]} and its labels have {shapes}; allowed: (N, 28, 28) and (N,)")
        if int(labels.max()) >= len(CLASS_NAMES):
            raise ValueError(f"fashion_mnist: {paths[i + 1]} holds label {int(labels.max())}; allowed: 0 to 9")
    return tensors


def _read_file(path: Path) -> Tensor:
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path, " ".join(str(error).split())) from error
    _check_idx(path, content)
    from torchvision.datasets import mnist

    reader: Callable[[str], Tensor] = mnist.read_image_file if _holds_images(path) else mnist.read_label_file
    if path.suffix != ".gz":
        return reader(str(path))
    with tempfile.TemporaryDirectory() as folder:  # torchvision reads plain files only
        plain = Path(folder) / path.stem
        plain.write_bytes(content)
        return reader(str(plain))


def _check_idx(path: Path, content: bytes) -> None:
    """Refuse what torchvision's reader would meet with an assertion, before seconds go into importing it."""
    num_dimensions = 3 if _holds_images(path) else 1
    if content[:4] != bytes([0, 0, 8, num_dimensions]):
        raise _damaged(path, f"it begins with {content[:4].hex(' ') or 'nothing'}")
    header = 4 * (1 + num_dimensions)
    size = header + math.prod(struct.unpack(f">{num_dimensions}I", content[4:header].ljust(header - 4, b"\0")))
    if len(content) != max(size, header):
        raise _damaged(path, f"it holds {len(content)} bytes, and by its header {size}")


def _holds_images(path: Path) -> bool:
    return "images" in path.name


def _damaged(path: Path, why: str) -> ValueError:
    return ValueError(f"fashion_mnist: {path} is damaged or no IDX file ({why}); {_ADVICE}")
