"""FER2013 (Goodfellow et al. 2013): faces and their expressions, as the Kaggle challenge ships them."""

import csv
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from benchmark.data.arrays import image_data
from benchmark.data.files import Files, cache_folder, locate, one_line, roots
from benchmark.data.images import Dataset, ImageData

_T = TypeVar("_T")
CLASS_NAMES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
_SIZE = 48
_LABELS = {str(i): i for i in range(len(CLASS_NAMES))}
_USAGES = {"Training": True, "PublicTest": False, "PrivateTest": False}
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
    `icml_face_data.csv` (`Usage` says which images are for training; both others are the test set), else `train.csv`,
    all of whose images are labelled, and a fixed fifth of each class is the test set.
    """

    SOURCE = "Goodfellow et al. 2013, Challenges in Representation Learning (arXiv 1307.0414)"

    def locate(self, root: Path | None) -> list[Path]:
        return [_find(root)]

    def load(self, root: Path | None) -> ImageData:
        path = _find(root)
        images, labels, for_training = _read(path)
        train, test = (images[for_training], labels[for_training]), (images[~for_training], labels[~for_training])
        card = (
            f"FER2013, {len(images):,} faces of 48 x 48 grey pixels in 7 expressions, Kaggle's challenge in "
            "representation learning 2013, collected by Pierre-Luc Carrier and Aaron Courville"
        )
        return image_data(f"fer2013: {path}", train, test if len(test[1]) else None, CLASS_NAMES, card)


def _find(root: Path | None) -> Path:
    for layout in _LAYOUTS:
        for base in (*roots(root), cache_folder()):
            for subfolder in _SUBFOLDERS:
                if (base / subfolder / layout).is_file():
                    return base / subfolder / layout
    (path,) = locate(Files("fer2013", (" or ".join(_LAYOUTS),), _SUBFOLDERS, _ADVICE), root)
    return path


def _read(path: Path) -> tuple[Tensor, Tensor, Tensor]:
    """Images (N, 1, 48, 48) uint8, labels (N,), and which are for training (N,) bool."""
    images, labels, training = [], [], []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file, warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # how numpy says that a text is no number
            for line, row in _rows(path, csv.reader(file)):
                images.append(_pixels(path, line, row["pixels"]))
                labels.append(_one_of(path, line, "emotion", row["emotion"], _LABELS))
                training.append(_one_of(path, line, "Usage", row.get("usage", "Training"), _USAGES))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"fer2013: {path} cannot be read ({one_line(error)}); {_ADVICE}") from error
    if not images:
        raise ValueError(f"fer2013: {path} has no image; {_ADVICE}")
    stacked = torch.frombuffer(bytearray().join(images), dtype=torch.uint8).view(-1, 1, _SIZE, _SIZE)
    return stacked, torch.tensor(labels), torch.tensor(training)


def _rows(path: Path, reader: "Iterator[list[str]]") -> Iterator[tuple[int, dict[str, str]]]:
    """(line, column -> text); names of columns without spaces and case, as the two layouts differ in them."""
    names = [name.strip().lower() for name in next(reader, [])]
    missing = {"emotion", "pixels"} - set(names)
    if missing:
        raise ValueError(
            f"fer2013: {path} has the columns {', '.join(names) or 'none'}; {', '.join(sorted(missing))} missing"
        )
    for line, cells in enumerate(reader, start=2):
        if len(cells) != len(names):
            raise ValueError(f"fer2013: {path} line {line} has {len(cells)} columns; allowed: {len(names)}")
        yield line, dict(zip(names, cells, strict=True))


def _pixels(path: Path, line: int, text: str) -> bytes:
    try:
        # Four times as fast as splitting; it stops at what is no number, and then the words are looked at.
        values = np.fromstring(text, dtype=np.int64, sep=" ")
        if len(values) == _SIZE**2 and values.min() >= 0 and values.max() <= 255:
            return values.astype(np.uint8).tobytes()
    except (ValueError, DeprecationWarning):
        pass
    words = text.split()
    wrong = [word for word in words if word not in _LEVELS]
    held = f"the pixel {wrong[0]!r}" if wrong else f"{len(words)} pixels"
    raise ValueError(f"fer2013: {path} line {line} has {held}; allowed: {_SIZE**2} whole numbers from 0 to 255")


def _one_of(path: Path, line: int, column: str, text: str, allowed: dict[str, _T]) -> _T:
    if text.strip() not in allowed:
        raise ValueError(f"fer2013: {path} line {line} has the {column} {text!r}; allowed: {', '.join(allowed)}")
    return allowed[text.strip()]
