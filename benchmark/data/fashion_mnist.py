"""Fashion-MNIST (Xiao, Rasul and Vollgraf 2017, arXiv 1708.07747)."""

from pathlib import Path

from torch import Tensor

from benchmark.data.formats import idx
from benchmark.data.formats.files import Files, locate
from benchmark.data.images import Dataset, DownloadField, ImageData

CLASS_NAMES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
MEAN, STD = (0.2860,), (0.3530,)
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
FILES = idx.FILES
_ADVICE = (
    "get them with `apt-get install dataset-fashion-mnist`, with `download: true` in the suite, "
    "or with torchvision.datasets.FashionMNIST(root, download=True) and `--data-root root`"
)


class FashionMNIST(Dataset):
    """All 60,000 training and 10,000 test images, 28 x 28 grey, 10 classes of clothes.

    The four IDX files, plain or .gz, are looked for in each root itself, in its `FashionMNIST/raw`, where torchvision
    puts them, and in the folder of Debian's `dataset-fashion-mnist`.
    """

    SOURCE = "Xiao, Rasul and Vollgraf 2017, arXiv 1708.07747"
    download: DownloadField = False

    def locate(self, root: Path | None) -> list[Path]:
        return locate(files(), root, self.download)

    def load(self, root: Path | None) -> ImageData:
        images, labels, test_images, test_labels = read(self.locate(root))
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


def files() -> Files:
    return Files(
        "fashion_mnist",
        FILES,
        ("FashionMNIST/raw", ""),
        _ADVICE,
        more=(DEBIAN_FOLDER,),
        fetch=_fetch,
        urls=_urls,
        gz=True,
    )


def read(paths: list[Path]) -> list[Tensor]:
    """Images (N, 28, 28) uint8 and labels (N,) int64 of the training set, then of the test set; paths: the FILES."""
    return idx.read("fashion_mnist", paths, len(CLASS_NAMES), _ADVICE)


def _urls() -> list[str]:
    from torchvision.datasets import FashionMNIST as Fetcher

    return [mirror + Fetcher.resources[0][0] for mirror in Fetcher.mirrors]


def _fetch(folder: Path) -> None:
    from torchvision.datasets import FashionMNIST as Fetcher

    Fetcher(folder, download=True)
