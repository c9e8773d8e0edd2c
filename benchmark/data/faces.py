"""Faces: Olivetti and LFW through scikit-learn's fetchers, and the faces that scikit-image ships."""

import os
from pathlib import Path
from typing import Any

import torch
from pydantic import Field

from benchmark.data.arrays import image_data, resized, to_labels, to_uint8
from benchmark.data.files import Files, locate
from benchmark.data.images import Dataset, DownloadField, ImageData
from benchmark.spec import SpecError

_HOST = "ndownloader.figshare.com"


def _scikit_learn_data() -> Path:
    return Path(os.environ.get("SCIKIT_LEARN_DATA", "~/scikit_learn_data")).expanduser()


def _advice(call: str) -> str:
    return (
        f"get it with `download: true` in the suite, or with sklearn.datasets.{call}(data_home=root) and "
        "`--data-root root`"
    )


class Olivetti(Dataset):
    """400 faces of 40 people, 64 x 64 grey, resized to `size`; a fixed fifth of each person's is the test set.

    Reads what scikit-learn's fetcher keeps: `olivetti_py3.pkz`, in a root or in its own `scikit_learn_data`.
    """

    SOURCE = "Samaria and Harter 1994 (AT&T Laboratories Cambridge), by scikit-learn"
    size: int = Field(default=64, ge=8, le=64)
    download: DownloadField = False

    def load(self, root: Path | None) -> ImageData:
        where, advice = "olivetti", _advice("fetch_olivetti_faces")
        more = (_scikit_learn_data(),)
        names = ("olivetti_py3.pkz",)
        (path,) = locate(Files(where, names, ("",), advice, more, _fetch_olivetti, _HOST), root, self.download)
        from sklearn.datasets import fetch_olivetti_faces

        found = _fetched(f"{where}: {path}", advice, fetch_olivetti_faces, data_home=path.parent)
        images = to_uint8(f"{where}: {path}", found.images)
        labels = to_labels(f"{where}: {path}", found.target, len(images))
        people = tuple(f"person {i + 1}" for i in range(int(labels.max()) + 1))
        card = f"Olivetti faces, {len(images)} of {len(people)} people, AT&T Laboratories Cambridge, by scikit-learn"
        return image_data(f"{where}: {path}", (resized(images, self.size), labels), None, people, card)


class LFW(Dataset):
    """Labeled Faces in the Wild, funneled, the middle of each picture resized to `size`; a class a person.

    min_faces_per_person: people with fewer pictures are left out. A fixed fifth of each person's is the test set.
    Reads the folder `lfw_home` that scikit-learn's fetcher keeps, in a root or in its own `scikit_learn_data`.
    """

    SOURCE = "Huang et al. 2007, Labeled Faces in the Wild, by scikit-learn"
    size: int = Field(default=32, ge=8, le=94)
    min_faces_per_person: int = Field(default=30, ge=3)
    color: bool = False
    download: DownloadField = False

    def load(self, root: Path | None) -> ImageData:
        where, advice = "lfw", _advice("fetch_lfw_people")
        names = tuple(f"lfw_home/{name}" for name in ("lfw_funneled", "pairs.txt", "pairsDevTrain.txt"))
        files = Files(where, names, ("",), advice, (_scikit_learn_data(),), _fetch_lfw, _HOST)
        path = locate(files, root, self.download)[0].parent
        from sklearn.datasets import fetch_lfw_people

        settings = {"min_faces_per_person": self.min_faces_per_person, "color": self.color, "resize": None}
        found = _fetched(f"{where}: {path}", advice, fetch_lfw_people, data_home=path.parent, **settings)
        pixels = found.images if found.images.max() <= 1 else found.images / 255
        images = resized(to_uint8(f"{where}: {path}", pixels), self.size)
        labels = to_labels(f"{where}: {path}", found.target, len(images))
        people = tuple(str(name) for name in found.target_names)
        card = (
            f"Labeled Faces in the Wild, {len(images):,} faces of {len(people)} people with at least "
            f"{self.min_faces_per_person} pictures, University of Massachusetts, by scikit-learn"
        )
        return image_data(f"{where}: {path}", (images, labels), None, people, card)


class LFWSubset(Dataset):
    """100 faces and 100 other cut-outs of LFW, 25 x 25 grey, inside scikit-image; a fixed fifth is the test set."""

    SOURCE = "Huang et al. 2007, Labeled Faces in the Wild, by scikit-image"

    def load(self, root: Path | None) -> ImageData:
        try:
            from skimage.data import lfw_subset
        except ImportError as error:
            raise ValueError(
                f"lfw_subset: it comes with scikit-image, which cannot be imported ({error}); "
                "get it with `pip install scikit-image`, or `pip install 'robust-or-private[faces]'`"
            ) from error
        images = to_uint8("lfw_subset", lfw_subset())  # type: ignore[no-untyped-call]
        labels = torch.zeros(len(images), dtype=torch.int64)
        labels[: len(images) // 2] = 1
        card = "LFW subset of scikit-image, 100 faces and 100 other cut-outs of 25 x 25 grey pixels"
        return image_data("lfw_subset", (images, labels), None, ("no face", "face"), card)


def _fetched(where: str, advice: str, fetch: Any, **settings: Any) -> Any:
    """What scikit-learn's fetcher makes of the files that are there; it downloads nothing here."""
    try:
        return fetch(download_if_missing=False, **settings)
    except (OSError, EOFError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        why = " ".join(str(error).split())
        raise SpecError(f"{where} is damaged, or not what scikit-learn keeps ({why}); {advice}") from error


def _fetch_olivetti(folder: Path) -> None:
    from sklearn.datasets import fetch_olivetti_faces

    fetch_olivetti_faces(data_home=folder)


def _fetch_lfw(folder: Path) -> None:
    from sklearn.datasets import fetch_lfw_people

    fetch_lfw_people(data_home=folder)
