"""MNIST (LeCun et al. 1998)."""

from pathlib import Path

from benchmark.data.formats import idx
from benchmark.data.formats.files import Files, locate
from benchmark.data.images import Dataset, DownloadField, ImageData

_ADVICE = (
    "get them with `download: true` in the suite, or with torchvision.datasets.MNIST(root, download=True) and "
    "`--data-root root`"
)


class MNIST(Dataset):
    """60,000 training and 10,000 test images, 28 x 28 grey, handwritten digits. Files as of torchvision's MNIST."""

    SOURCE = "LeCun, Bottou, Bengio and Haffner 1998"
    download: DownloadField = False

    def locate(self, root: Path | None) -> list[Path]:
        files = Files("mnist", idx.FILES, ("MNIST/raw",), _ADVICE, fetch=_fetch, urls=_urls, gz=True)
        return locate(files, root, self.download)

    def load(self, root: Path | None) -> ImageData:
        images, labels, test_images, test_labels = idx.read("mnist", self.locate(root), 10, _ADVICE)
        return ImageData(
            images=images[:, None],
            labels=labels,
            test_images=test_images[:, None],
            test_labels=test_labels,
            class_names=tuple(str(digit) for digit in range(10)),
            mean=(0.1307,),
            std=(0.3081,),
            card=f"MNIST, {len(images):,} + {len(test_images):,} test images of 28 x 28 grey pixels in 10 classes, "
            "LeCun, Cortes and Burges",
        )


def _urls() -> list[str]:
    from torchvision.datasets import MNIST as Fetcher

    return [mirror + Fetcher.resources[0][0] for mirror in Fetcher.mirrors]


def _fetch(folder: Path) -> None:
    from torchvision.datasets import MNIST as Fetcher

    Fetcher(folder, download=True)
