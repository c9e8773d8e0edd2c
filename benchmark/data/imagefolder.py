"""Any folder of class folders of pictures."""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from benchmark.data.arrays import image_data, resized, to_uint8
from benchmark.data.files import cache_folder, roots
from benchmark.data.images import Dataset, ImageData

SUFFIXES = frozenset(".jpg .jpeg .png .bmp .gif .tif .tiff .webp .pgm .ppm".split())
_LARGEST = 5
"""Bad files that an error names; it counts them all."""


class ImageFolder(Dataset):
    """`path`/CLASS/picture, or `path`/train/CLASS/picture with `path`/test (or val) beside it.

    path: absolute, or below a data root. size: pictures are cut to their middle square and resized to it. mode: `RGB`
    or `L` (grey). Without a test folder a fixed fifth of each class is the test set. Classes are sorted by name.
    skip_unreadable: leave out files that are no pictures, instead of refusing the folder.
    """

    SOURCE = "the user's own"
    path: str = Field(min_length=1)
    size: int = Field(ge=8, le=512)
    mode: Literal["RGB", "L"] = "RGB"
    skip_unreadable: bool = False

    def load(self, root: Path | None) -> ImageData:
        folder = find_folder("imagefolder", self.path, root)
        where = f"imagefolder: {folder}"
        parts = [folder / "train", next((folder / n for n in ("test", "val") if (folder / n).is_dir()), None)]
        if not (folder / "train").is_dir() or parts[1] is None:
            parts = [folder, None]
        names = _class_names(where, parts[0] or folder)
        loaded = [self._read(where, part, names) for part in parts if part is not None]
        images, bad = [part[:2] for part in loaded], [path for part in loaded for path in part[2]]
        if bad and not self.skip_unreadable:
            shown = ", ".join(str(path.relative_to(folder)) for path in bad[:_LARGEST])
            more = f" and {len(bad) - _LARGEST} more" if len(bad) > _LARGEST else ""
            raise ValueError(
                f"{where}: {len(bad)} files cannot be read as pictures: {shown}{more}; "
                "mend or remove them, or set `skip_unreadable: true`"
            )
        left_out = f", {len(bad)} unreadable files left out" if bad else ""
        card = (
            f"image folder {folder.name}, {sum(len(y) for _, y in images):,} pictures in {len(names)} classes at "
            f"{self.size} x {self.size} pixels{left_out}"
        )
        return image_data(where, images[0], images[1] if len(images) > 1 else None, names, card)

    def _read(self, where: str, folder: Path, names: tuple[str, ...]) -> tuple[Tensor, Tensor, list[Path]]:
        """Images, labels, and the files that are no pictures."""
        found, labels, bad = [], [], []
        for label, name in enumerate(names):
            for path in _pictures(folder / name):
                picture = self._picture(path)
                if picture is None:
                    bad.append(path)
                else:
                    found.append(picture)
                    labels.append(label)
        if not found:
            raise ValueError(f"{where}: {folder} has no picture of the classes {', '.join(names)}")
        return torch.cat(found), torch.tensor(labels), bad

    def _picture(self, path: Path) -> Tensor | None:
        """(1, C, size, size) uint8, or None if the file is no picture."""
        from PIL import Image, UnidentifiedImageError

        try:
            with Image.open(path) as opened:
                pixels = np.asarray(opened.convert(self.mode))
        except (OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError):
            return None
        side = min(pixels.shape[:2])
        top, left = ((length - side) // 2 for length in pixels.shape[:2])
        square = pixels[top : top + side, left : left + side]
        return resized(to_uint8(str(path), square[None] if square.ndim == 3 else square[None, ..., None]), self.size)


def find_folder(data_set: str, path: str, root: Path | None) -> Path:
    """The folder or file `path`: absolute, below a data root, or below the current folder. Raises ValueError."""
    places = [base / path for base in (*roots(root), Path(), cache_folder())]
    for place in places:
        if place.exists():
            return place
    looked = ", ".join(str(place) for place in dict.fromkeys(places))
    raise ValueError(f"{data_set}: path {path!r} is not there; looked at {looked}; name its root with `--data-root`")


def _class_names(where: str, folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        raise ValueError(f"{where}: is no folder; allowed: a folder of class folders")
    names = tuple(sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")))
    if len(names) < 2:
        raise ValueError(f"{where}: holds {len(names)} class folders; allowed: at least 2")
    empty = [name for name in names if not _pictures(folder / name)]
    if empty:
        raise ValueError(
            f"{where}: {len(empty)} class folders hold no picture: {', '.join(empty[:_LARGEST])}; "
            f"allowed: at least one file ending in {', '.join(sorted(SUFFIXES))}"
        )
    return names


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
