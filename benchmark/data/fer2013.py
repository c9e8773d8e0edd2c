"""FER2013 (Goodfellow et al. 2013): faces and their expressions, as the Kaggle challenge ships them."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmark.data.arrays import image_data, to_labels
from benchmark.data.files import Files, cache_folder, locate, roots
from benchmark.data.images import Dataset, ImageData

CLASS_NAMES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
_SIZE = 48
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
        with path.open(newline="", encoding="utf-8-sig") as file:
            for line, row in _rows(path, csv.reader(file)):
                images.append(_pixels(path, line, row["pixels"]))
                labels.append(int(row["emotion"]) if row["emotion"].strip().isdecimal() else -1)
                training.append(row.get("usage", "Training").strip() == "Training")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"fer2013: {path} cannot be read ({error}); {_ADVICE}") from error
    if not images:
        raise ValueError(f"fer2013: {path} has no image; {_ADVICE}")
    stacked = torch.from_numpy(np.stack(images).reshape(-1, 1, _SIZE, _SIZE))
    checked = to_labels(f"fer2013: {path}", np.array(labels), len(stacked), len(CLASS_NAMES))
    return stacked, checked, torch.tensor(training)


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


def _pixels(path: Path, line: int, text: str) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    try:
        values = np.array(text.split() or ["-1"], dtype=np.int64)
    except (ValueError, OverflowError):
        values = np.array([-1])
    if len(values) != _SIZE**2 or values.min() < 0 or values.max() > 255:
        raise ValueError(
            f"fer2013: {path} line {line} has {len(values)} pixels from {values.min()} to {values.max()}; "
            f"allowed: {_SIZE**2} whole numbers from 0 to 255"
        )
    return values.astype(np.uint8)
