"""Any folder of class folders of pictures."""

import warnings
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor

from benchmark.data.arrays import image_data
from benchmark.data.files import MALFORMED, cache_folder, one_line, roots
from benchmark.data.images import Dataset, ImageData

SUFFIXES = frozenset(".jpg .jpeg .png .bmp .gif .tif .tiff .webp .pgm .ppm".split())
_LARGEST = 5
"""Bad files that an error names; it counts them all."""


class ImageFolder(Dataset):
    """`path`/CLASS/picture, or `path`/train/CLASS/picture with `path`/test (or val) beside it.

    Files as of torchvision's ImageFolder: class folders sorted by name, pictures at any depth in them.
    path: absolute, or below a data root. size: pictures are cut to their middle square and resized to it. mode: `RGB`
    or `L` (grey). Without a test folder a fixed fifth of each class is the test set.
    skip_unreadable: leave out files that are no pictures, instead of refusing the folder.
    """

    SOURCE = "the user's own"
    path: str = Field(min_length=1)
    size: int = Field(ge=8, le=512)
    mode: Literal["RGB", "L"] = "RGB"
    skip_unreadable: bool = False

    def locate(self, root: Path | None) -> list[Path]:
        return [find_folder("imagefolder", self.path, root)]

    def load(self, root: Path | None) -> ImageData:
        (folder,) = self.locate(root)
        where = f"imagefolder: {folder}"
        parts = _parts(folder)
        names = _class_names(where, parts[0])
        for part in parts[1:]:
            strangers = sorted({p.name for p in class_folders(part)} - set(names))
            if strangers:
                allowed = f"allowed: those of {parts[0]}: {', '.join(names[:_LARGEST])}, ..."
                raise ValueError(f"{where}: {part} holds the class folder {strangers[0]!r}; {allowed}")
        loaded = [self._read(where, part, names) for part in parts]
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
        try:
            pixels = decoded(path, self.mode)
        except ValueError:
            return None
        side = min(pixels.shape[:2])
        top, left = ((length - side) // 2 for length in pixels.shape[:2])
        return square(pixels[top : top + side, left : left + side], self.size)


def decoded(picture: Path | BinaryIO, mode: str | None = None) -> npt.NDArray[np.uint8]:
    """The pixels of a picture file, (H, W) or (H, W, 3), upright as its camera says, on black where it is transparent.

    mode: `RGB` or `L`; default: grey if the file is. Raises ValueError if it cannot be read, or holds no 8-bit pixels.
    """
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings(action="ignore"), Image.open(picture) as opened:  # odd tags are no news
            if opened.mode.startswith(("I", "F")):
                raise ValueError(f"its pixels are of type {opened.mode}; allowed: 8 bits a channel")
            image: Image.Image = ImageOps.exif_transpose(opened)
            if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
            return np.asarray(image.convert(mode or ("L" if opened.mode in ("1", "L", "LA") else "RGB")))
    except (*MALFORMED, Image.DecompressionBombError) as error:
        raise ValueError(one_line(error)) from error


def square(pixels: npt.NDArray[np.uint8], size: int) -> Tensor:
    """Pixels (H, W) or (H, W, 3) as an image (1, C, size, size): bilinear, averaging where it shrinks."""
    from PIL import Image

    # One by one Pillow does it as torch does, to a level of rounding, and wakes no threads for so little.
    image = Image.fromarray(np.ascontiguousarray(pixels)).resize((size, size), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(image)).view(1, size, size, -1).permute(0, 3, 1, 2).contiguous()


def find_folder(data_set: str, path: str, root: Path | None) -> Path:
    """The folder or file `path`: absolute, below a data root, or below the current folder. Raises ValueError."""
    places = [base / path for base in (*roots(root), Path(), cache_folder())]
    for place in places:
        if place.exists():
            return place
    looked = ", ".join(str(place) for place in dict.fromkeys(places))
    raise ValueError(f"{data_set}: path {path!r} is not there; looked at {looked}; name its root with `--data-root`")


def _parts(folder: Path) -> list[Path]:
    """The folder of the training images and, if there is one, of the test images."""
    train = folder / "train"
    if not train.is_dir() or not class_folders(train):  # none, or a class called so
        return [folder]
    return [train, *(folder / name for name in ("test", "val") if (folder / name).is_dir())][:2]


def class_folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _class_names(where: str, folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        raise ValueError(f"{where}: is no folder; allowed: a folder of class folders")
    names = tuple(path.name for path in class_folders(folder))
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
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
