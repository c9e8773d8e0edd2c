"""Faces: Olivetti and LFW from what scikit-learn's fetchers keep, and the faces that scikit-image ships."""

import importlib.util
import os
import shutil
from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from benchmark.data.formats.arrays import image_data, resized, to_uint8
from benchmark.data.formats.files import Files, locate
from benchmark.data.formats.folders import class_folders
from benchmark.data.formats.unpickle import joblib_array
from benchmark.data.imagefolder import decoded, square
from benchmark.data.images import Dataset, DownloadField, ImageData

_SCIKIT_IMAGE = "get it with `pip install scikit-image`, or `pip install 'robust-or-private[faces]'`"


def _scikit_learn_data() -> Path:
    return Path(os.environ.get("SCIKIT_LEARN_DATA", "~/scikit_learn_data")).expanduser()


def _advice(call: str) -> str:
    return (
        f"get it with `download: true` in the suite, or with sklearn.datasets.{call}(data_home=root) and "
        "`--data-root root`"
    )


class Olivetti(Dataset):
    """400 faces of 40 people, 64 x 64 grey, resized to `size`; a fixed fifth of each person's is the test set.

    Reads what scikit-learn's fetch_olivetti_faces keeps: `olivetti_py3.pkz`, in a root or in its own
    `scikit_learn_data`. The pixels are those of the file; the fetcher stretches them to [0, 1].
    """

    SOURCE = "Samaria and Harter 1994 (AT&T Laboratories Cambridge), by scikit-learn"
    size: int = Field(default=64, ge=8, le=64)
    download: DownloadField = False

    def locate(self, root: Path | None) -> list[Path]:
        more, advice = (_scikit_learn_data(),), _advice("fetch_olivetti_faces")
        files = Files("olivetti", ("olivetti_py3.pkz",), ("",), advice, more, _fetch_olivetti, _olivetti_urls)
        return locate(files, root, self.download)

    def load(self, root: Path | None) -> ImageData:
        (path,) = self.locate(root)
        try:
            faces = joblib_array(path)
        except ValueError as error:
            advice = _advice("fetch_olivetti_faces")
            raise ValueError(
                f"olivetti: {path} is damaged, or not what scikit-learn keeps ({error}); {advice}"
            ) from error
        if faces.shape != (400, 64 * 64):
            raise ValueError(f"olivetti: {path} holds an array of shape {faces.shape}; allowed: (400, 4096)")
        if faces.dtype != np.uint8 and faces.max() > 1 and np.isin(faces, np.arange(256)).all():
            faces = faces.astype(np.uint8)  # levels, in whatever type they were kept
        upright = faces.reshape(400, 64, 64).transpose(0, 2, 1)  # the file has columns first
        images = to_uint8(f"olivetti: {path}", upright)
        labels = torch.arange(400) // 10
        people = tuple(f"person {i + 1}" for i in range(40))
        card = "Olivetti faces, 400 of 40 people, AT&T Laboratories Cambridge, by scikit-learn"
        return image_data(f"olivetti: {path}", (resized(images, self.size), labels), None, people, card)


class LFW(Dataset):
    """Labeled Faces in the Wild, funneled, the face of each picture resized to `size`; a class a person.

    min_faces_per_person: people with fewer pictures are left out. A fixed fifth of each person's is the test set.
    color: RGB, else grey. Reads `lfw_home/lfw_funneled`, which scikit-learn's fetch_lfw_people keeps, in a root or in
    its own `scikit_learn_data`. Cut out are the fetcher's rows 70 to 194, but square: columns 62 to 186.
    """

    SOURCE = "Huang et al. 2007, Labeled Faces in the Wild, by scikit-learn"
    size: int = Field(default=32, ge=8, le=125)
    min_faces_per_person: int = Field(default=30, ge=3, le=10_000)
    color: bool = False
    download: DownloadField = False

    def locate(self, root: Path | None) -> list[Path]:
        more, advice = (_scikit_learn_data(),), _advice("fetch_lfw_people")
        files = Files("lfw", ("lfw_home/lfw_funneled",), ("",), advice, more, _fetch_lfw, _lfw_urls)
        return locate(files, root, self.download)

    def load(self, root: Path | None) -> ImageData:
        (folder,) = self.locate(root)
        people = {person.name.replace("_", " "): sorted(person.glob("*.jpg")) for person in class_folders(folder)}
        most = max(map(len, people.values()), default=0)
        people = {name: paths for name, paths in people.items() if len(paths) >= self.min_faces_per_person}
        if len(people) < 2:
            raise ValueError(
                f"lfw: min_faces_per_person: {self.min_faces_per_person} leaves {len(people)} people; allowed: what "
                f"leaves 2 or more; in {folder} nobody has more than {most} pictures"
            )
        images = torch.cat([self._face(path) for paths in people.values() for path in paths])
        counts = torch.tensor([len(paths) for paths in people.values()])
        labels = torch.arange(len(people)).repeat_interleave(counts)
        card = (
            f"Labeled Faces in the Wild, {len(images):,} faces of {len(people)} people with at least "
            f"{self.min_faces_per_person} pictures, University of Massachusetts, by scikit-learn"
        )
        return image_data(f"lfw: {folder}", (images, labels), None, tuple(people), card)

    def _face(self, path: Path) -> Tensor:
        """(1, C, size, size) uint8."""
        try:
            pixels = decoded(path, "RGB" if self.color else "L")
        except ValueError as error:
            raise ValueError(f"lfw: {path} cannot be read ({error}); {_advice('fetch_lfw_people')}") from error
        if pixels.shape[:2] != (250, 250):
            raise ValueError(f"lfw: {path} is of {pixels.shape[1]} x {pixels.shape[0]} pixels; allowed: 250 x 250")
        return square(pixels[70:195, 62:187], self.size)


class LFWSubset(Dataset):
    """100 faces and 100 other cut-outs of LFW, 25 x 25 grey, inside scikit-image; a fixed fifth is the test set."""

    SOURCE = "Huang et al. 2007, Labeled Faces in the Wild, by scikit-image"

    def locate(self, root: Path | None) -> list[Path]:
        found = importlib.util.find_spec("skimage")
        if found is None or found.origin is None:
            raise ValueError(f"lfw_subset: it comes with scikit-image, which is not installed; {_SCIKIT_IMAGE}")
        return [Path(found.origin).parent / "data" / "lfw_subset.npy"]

    def load(self, root: Path | None) -> ImageData:
        try:
            from skimage.data import lfw_subset
        except ImportError as error:
            raise ValueError(
                f"lfw_subset: it comes with scikit-image, which cannot be imported ({error}); {_SCIKIT_IMAGE}"
            ) from error
        images = to_uint8("lfw_subset", lfw_subset())  # type: ignore[no-untyped-call]
        labels = torch.zeros(len(images), dtype=torch.int64)
        labels[: len(images) // 2] = 1
        card = "LFW subset of scikit-image, 100 faces and 100 other cut-outs of 25 x 25 grey pixels"
        return image_data("lfw_subset", (images, labels), None, ("no face", "face"), card)


def _fetch_olivetti(folder: Path) -> None:
    from sklearn.datasets import fetch_olivetti_faces

    fetch_olivetti_faces(data_home=folder, n_retries=1)


def _olivetti_urls() -> list[str]:
    from sklearn.datasets import _olivetti_faces

    return [_olivetti_faces.FACES.url]


def _fetch_lfw(folder: Path) -> None:
    from sklearn.datasets import fetch_lfw_people

    # It unpacks all pictures, then decodes those of people with so many and keeps them once more, which nobody needs.
    fetch_lfw_people(data_home=folder, min_faces_per_person=500, resize=0.1, n_retries=1)
    shutil.rmtree(folder / "lfw_home" / "joblib", ignore_errors=True)


def _lfw_urls() -> list[str]:
    from sklearn.datasets import _lfw

    return [_lfw.FUNNELED_ARCHIVE.url]
