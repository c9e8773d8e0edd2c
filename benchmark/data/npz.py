"""Arrays of images and labels in one .npz."""

from pathlib import Path

import numpy as np
from pydantic import Field

from benchmark.data.formats.arrays import Array, Part, image_data, numbered, size_card, to_labels, to_uint8
from benchmark.data.formats.files import MALFORMED, one_line
from benchmark.data.formats.splits import is_unlabelled, not_read, split_of, split_words, words
from benchmark.data.imagefolder import find_folder
from benchmark.data.images import Dataset, ImageData
from benchmark.reading.text import printable

_PREFIX = {"train": "", "test": "test_", "validation": "val_"}
_ROLES = {
    "images": ("images", "image", "imgs", "img", "data", "x"),
    "labels": ("labels", "label", "targets", "target", "y"),
}
_OF_WORD = {word: role for role, words in _ROLES.items() for word in words}
_ALLOWED = "images, labels, test_images, test_labels, val_images, val_labels, also as x_train, y_test or the like"


class NPZ(Dataset):
    """Arrays `images` and `labels`, and if there are any `test_images`, `test_labels`, `class_names`.

    Names like `x_train`, `train_images` or `test_image` mean the same; `val_images` stand in where there are no test
    images with labels. path: absolute, or below a data root. images: (N, H, W), (N, H, W, C) or (N, C, H, W), uint8 or
    float in [0, 1]; floats are rounded to 256 levels. Without test images a fixed fifth of each class is the test set.
    """

    SOURCE = "the user's own"
    path: str = Field(min_length=1)

    def locate(self, root: Path | None) -> list[Path]:
        return [find_folder("npz", self.path, root)]

    def load(self, root: Path | None) -> ImageData:
        (path,) = self.locate(root)
        where = f"npz: {path}"
        arrays = _arrays(where, path)
        parts, unread = _parts(where, arrays)
        missing = sorted(set(_ROLES) - set(parts["train"]))
        if missing:
            listed = printable(", ".join(arrays)) or "none"
            raise ValueError(f"{where} has the arrays {listed}; {', '.join(missing)} missing; allowed: {_ALLOWED}")
        names = arrays.get("class_names")
        if names is not None and (names.ndim != 1 or names.dtype.kind not in "US"):
            raise ValueError(f"{where}: class_names are {names.dtype} of shape {names.shape}; allowed: texts, (K,)")
        num_classes = None if names is None else len(names)
        test_split = _test_split(where, arrays, parts)
        train = _loaded(where, arrays, parts["train"], num_classes)
        test = _loaded(where, arrays, parts[test_split], num_classes) if test_split else None
        class_names = numbered(int(train[1].max()) + 1) if names is None else tuple(map(_text, names.tolist()))
        if test is not None and int(test[1].max()) >= len(class_names):
            raise ValueError(f"{where}: test_labels hold {int(test[1].max())}; allowed: 0 to {len(class_names) - 1}")
        unread += [name for split in ("test", "validation") if split != test_split for name in parts[split].values()]
        card = size_card(path, train, test, class_names) + not_read(unread)
        return image_data(where, train, test, class_names, card)


def _arrays(where: str, path: Path) -> dict[str, Array]:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (*MALFORMED, NotImplementedError) as error:
        raise ValueError(f"{where} is damaged or no .npz of plain arrays ({one_line(error)})") from error


def _parts(where: str, arrays: dict[str, Array]) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Split -> images or labels -> name of the array; and the names of arrays that are none of these.

    The names of the class's docstring come first. Raises ValueError for images of a split that would not be read.
    """
    own = {f"{_PREFIX[split]}{role}": (split, role) for split in _PREFIX for role in _ROLES}
    parts: dict[str, dict[str, str]] = {split: {} for split in _PREFIX}
    unread = []
    for name in sorted(arrays, key=lambda name: name not in own):
        split, role = own.get(name) or _meaning(name)
        if role and role not in parts[split]:
            parts[split][role] = name
        elif arrays[name].ndim >= 3 and split_words(name):
            raise ValueError(f"{where} has the array {printable(name)}, which would not be read; allowed: {_ALLOWED}")
        elif role and parts[split][role] not in own:
            raise ValueError(f"{where} has {parts[split][role]} and {name}, which mean the same; allowed: one of them")
        elif name != "class_names":
            unread.append(name)
    return parts, unread


def _meaning(name: str) -> tuple[str, str]:
    """(split, images or labels) of names like `x_train`; empty for others."""
    splits = split_words(name)
    roles = {_OF_WORD[word] for word in words(name) if word in _OF_WORD}
    others = [word for word in words(name) if word not in _OF_WORD and split_of(word) is None]
    if others or len(roles) != 1 or len(splits) > 1:
        return "", ""
    return next(iter(splits), "train"), roles.pop()


def _test_split(where: str, arrays: dict[str, Array], parts: dict[str, dict[str, str]]) -> str | None:
    """The first of test and validation that has labels; None if there is neither."""
    problem = ""
    for split in ("test", "validation"):
        part = parts[split]
        if "images" in part and "labels" in part:
            if not is_unlabelled(arrays[part["labels"]].ravel().tolist()):
                return split
            problem = (
                problem or f"has no label in {part['labels']}: all are -1; allowed: labels, or labelled val_images"
            )
        elif part:
            (has,) = part
            lacks = "labels" if has == "images" else "images"
            problem = problem or f"has {part[has]} but no {_PREFIX[split]}{lacks}; allowed: both"
    if problem:
        raise ValueError(f"{where} {problem}")
    return None


def _loaded(where: str, arrays: dict[str, Array], part: dict[str, str], num_classes: int | None) -> Part:
    images = to_uint8(f"{where}: {part['images']}", arrays[part["images"]])
    return images, to_labels(f"{where}: {part['labels']}", arrays[part["labels"]], len(images), num_classes)


def _text(name: str | bytes) -> str:
    return name if isinstance(name, str) else name.decode("utf-8", "surrogateescape")
