"""FER2013 (Goodfellow et al. 2013): faces and their expressions, as the Kaggle challenge ships them."""

import contextlib
import csv
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmark.data.formats.arrays import Array, Part, image_data
from benchmark.data.formats.files import Files, cache_folder, locate, one_line, roots
from benchmark.data.formats.splits import is_unlabelled, not_read
from benchmark.data.images import Dataset, ImageData

_T = TypeVar("_T")
CLASS_NAMES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
_SIZE = 48
_LABELS = {str(i): i for i in range(len(CLASS_NAMES))}
_NO_LABEL = ("", "-1")
_TRAINING, _TESTS = "Training", ("PublicTest", "PrivateTest")
_USAGES = {usage: usage for usage in (_TRAINING, *_TESTS)}
_LEVELS = frozenset(str(i) for i in range(256))
_LAYOUTS = ("fer2013.csv", "icml_face_data.csv", "train.csv")
_SUBFOLDERS = ("fer2013", "")
_ADVICE = (
    "get one of them from kaggle.com/c/challenges-in-representation-learning-facial-expression-recognition-challenge "
    "(an account is needed, so nothing can fetch it), put it into a folder and name it with `--data-root`"
)


class FER2013(Dataset):
    """28,709 training and 7,178 test images, 48 x 48 grey, 7 expressions.

    One csv of the challenge, in a root or in its `fer2013`, where torchvision's FER2013 has it: `fer2013.csv` or
    `icml_face_data.csv` (`Usage` says which images are for training; both others are the test set, or the one that has
    labels), else `train.csv`, all of whose images are labelled, and a fixed fifth of each class is the test set.
    """

    SOURCE = "Goodfellow et al. 2013, Challenges in Representation Learning (arXiv 1307.0414)"

    def locate(self, root: Path | None) -> list[Path]:
        return [_find(root)]

    def load(self, root: Path | None) -> ImageData:
        path = _find(root)
        rows = _read(path)
        is_test = np.isin(rows.usages, _TESTS)
        unlabelled = [usage for usage in _TESTS if is_unlabelled(rows.labels[rows.usages == usage])]
        test = is_test & ~np.isin(rows.usages, unlabelled)
        lacking = rows.lines[(test if test.any() else is_test) & (rows.labels < 0)]
        if len(lacking):
            raise ValueError(
                f"fer2013: {path} has no emotion for {len(lacking)} test images, the first in line {lacking[0]}; "
                "allowed: PublicTest or PrivateTest with an emotion in every row"
            )
        unread = [usage for usage in unlabelled if (rows.usages == usage).any()]
        card = (
            f"FER2013, {len(rows.lines):,} faces of 48 x 48 grey pixels in 7 expressions, Kaggle's challenge in "
            f"representation learning 2013, collected by Pierre-Luc Carrier and Aaron Courville{not_read(unread)}"
        )
        return image_data(
            f"fer2013: {path}", rows.part(~is_test), rows.part(test) if test.any() else None, CLASS_NAMES, card
        )


@dataclass(frozen=True)
class _Rows:
    """Of N rows: images (N, 1, 48, 48) uint8; labels, -1 for none; usages; lines of the file; all (N,)."""

    images: Tensor
    labels: npt.NDArray[np.int64]
    usages: Array
    lines: Array

    def part(self, chosen: Array) -> Part:
        return self.images[torch.from_numpy(chosen)], torch.from_numpy(self.labels[chosen])


def _find(root: Path | None) -> Path:
    for layout in _LAYOUTS:
        for base in (*roots(root), cache_folder()):
            for subfolder in _SUBFOLDERS:
                if (base / subfolder / layout).is_file():
                    return base / subfolder / layout
    (path,) = locate(Files("fer2013", (" or ".join(_LAYOUTS),), _SUBFOLDERS, _ADVICE), root)
    return path


def _read(path: Path) -> _Rows:
    images, labels, usages, lines = [], [], [], []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file, warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # how numpy says that a text is no number
            for line, row in _rows(path, csv.reader(file)):
                images.append(_pixels(path, line, row["pixels"]))
                usage = _one_of(path, line, "Usage", row.get("usage", _TRAINING), _USAGES)
                no_label = usage in _TESTS and row["emotion"].strip() in _NO_LABEL
                labels.append(-1 if no_label else _one_of(path, line, "emotion", row["emotion"], _LABELS))
                usages.append(usage)
                lines.append(line)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"fer2013: {path} cannot be read ({one_line(error)}); {_ADVICE}") from error
    if not images:
        raise ValueError(f"fer2013: {path} has no image; {_ADVICE}")
    stacked = torch.frombuffer(bytearray().join(images), dtype=torch.uint8).view(-1, 1, _SIZE, _SIZE)
    return _Rows(stacked, np.array(labels), np.array(usages), np.array(lines))


def _rows(path: Path, reader: "Iterator[list[str]]") -> Iterator[tuple[int, dict[str, str]]]:
    """(line, column -> text); names of columns without spaces and case, as the two layouts differ in them."""
    filled = ((line, cells) for line, cells in enumerate(reader, start=1) if any(map(str.strip, cells)))
    names = [name.strip().lower() for name in next(filled, (0, list[str]()))[1]]
    missing = {"emotion", "pixels"} - set(names)
    if missing:
        raise ValueError(
            f"fer2013: {path} has the columns {', '.join(names) or 'none'}; {', '.join(sorted(missing))} missing"
        )
    for line, cells in filled:
        if len(cells) != len(names):
            raise ValueError(f"fer2013: {path} line {line} has {len(cells)} columns; allowed: {len(names)}")
        yield line, dict(zip(names, cells, strict=True))


def _pixels(path: Path, line: int, text: str) -> bytes:
    with contextlib.suppress(ValueError, DeprecationWarning):  # of what is no number: the words tell which
        # Four times as fast as splitting; it stops at what is no number, and then the words are looked at.
        values = np.fromstring(text, dtype=np.int64, sep=" ")
        if len(values) == _SIZE**2 and values.min() >= 0 and values.max() <= 255:
            return values.astype(np.uint8).tobytes()
    words = text.split()
    wrong = [word for word in words if word not in _LEVELS]
    held = f"the pixel {wrong[0]!r}" if wrong else f"{len(words)} pixels"
    raise ValueError(f"fer2013: {path} line {line} has {held}; allowed: {_SIZE**2} whole numbers from 0 to 255")


def _one_of(path: Path, line: int, column: str, text: str, allowed: dict[str, _T]) -> _T:
    if text.strip() not in allowed:
        raise ValueError(f"fer2013: {path} line {line} has the {column} {text!r}; allowed: {', '.join(allowed)}")
    return allowed[text.strip()]
