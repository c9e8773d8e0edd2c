"""Any folder of class folders of pictures."""

import warnings
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor

from benchmark.data.formats.arrays import image_data
from benchmark.data.formats.files import MALFORMED, cache_folder, one_line, roots
from benchmark.data.formats.folders import SUFFIXES, class_folders, class_names, parts, pictures
from benchmark.data.formats.splits import not_read
from benchmark.data.images import Dataset, ImageData
from benchmark.reading.text import printable

_LARGEST = 5
"""Bad files that an error names; it counts them all."""


class ImageFolder(Dataset):
    """`path`/CLASS/picture, or `path`/train/CLASS/picture with `path`/test (or val) beside it.

    Files as of torchvision's ImageFolder: class folders sorted by name, pictures at any depth in them, also behind
    links. Splits may have any name of `benchmark.data.formats.splits`; those of no split or class are on the card.
    path: absolute, or below a data root. size: pictures are cut to their middle square and resized to it. mode: `RGB`
    or `L` (grey). Without a test folder a fixed fifth of each class is the test set.
    skip_unreadable: leave out files that are no pictures, or pictures under a foreign suffix, instead of refusing them.
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
        train, test, unread = parts(where, folder)
        names = class_names(where, train)
        strangers = sorted({p.name for p in class_folders(test)} - set(names)) if test else []
        if strangers:
            allowed = printable(f"allowed: those of {train}: {', '.join(names[:_LARGEST])}, ...")
            raise ValueError(f"{where}: {test} holds the class folder {strangers[0]!r}; {allowed}")
        bad: list[Path] = []
        images = self._read(where, train, names, bad)
        test_images = self._read(where, test, names, bad) if test else None
        left_out = self._left_out(where, folder, bad)
        num = len(images[1]) + (len(test_images[1]) if test_images else 0)
        card = (
            f"image folder {folder.name}, {num:,} pictures in {len(names)} classes at "
            f"{self.size} x {self.size} pixels{left_out}{not_read(unread)}"
        )
        return image_data(where, images, test_images, names, card)

    def _read(self, where: str, folder: Path, names: tuple[str, ...], bad: list[Path]) -> tuple[Tensor, Tensor]:
        """Images and labels; files that are no pictures, or have no picture's suffix, are added to `bad`."""
        found, labels = [], []
        for label, name in enumerate(names):
            called, foreign = pictures(folder / name)
            bad += foreign
            for path in called:
                picture = self._picture(path)
                if picture is None:
                    bad.append(path)
                else:
                    found.append(picture)
                    labels.append(label)
        if not found:
            raise ValueError(f"{where}: {folder} has no picture of the classes {printable(', '.join(names))}")
        return torch.cat(found), torch.tensor(labels)

    def _left_out(self, where: str, folder: Path, bad: list[Path]) -> str:
        """What the card says of files that were left out. Raises ValueError if none may be."""
        if not bad:
            return ""
        if self.skip_unreadable:
            return f", {len(bad)} unreadable files left out"
        shown = printable(", ".join(str(path.relative_to(folder)) for path in bad[:_LARGEST]))
        more = f" and {len(bad) - _LARGEST} more" if len(bad) > _LARGEST else ""
        renamed = "" if all(path.suffix.lower() in SUFFIXES for path in bad) else ", give them a suffix that is read"
        raise ValueError(
            f"{where}: {len(bad)} files cannot be read as pictures: {shown}{more}; "
            f"mend or remove them{renamed}, or set `skip_unreadable: true`"
        )

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
