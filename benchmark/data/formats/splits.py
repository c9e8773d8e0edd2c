"""Recognises training, test and validation parts by the names that people give to folders, files, arrays and cells."""

import re
from collections.abc import Iterable

SPLITS = {
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "validation": ("validation", "valid", "val", "dev", "eval", "evaluation"),
}
ALLOWED = "train, test and validation (or val, valid, dev, eval), in any case"
_OF_NAME = {name: split for split, names in SPLITS.items() for name in names}
_LEFT_ASIDE = frozenset("extra unlabeled unlabelled unsupervised unsup pred predict".split())
_SHOWN = 5


def split_of(name: str) -> str | None:
    """Which of SPLITS the name is one for, in any case; None: no split has it."""
    return _OF_NAME.get(name.strip().casefold())


def split_words(name: str) -> set[str]:
    """The SPLITS that are named by a word of the name, as in `seg_test` or `x-train-2`."""
    return {_OF_NAME[word] for word in words(name) if word in _OF_NAME}


def is_left_aside(name: str) -> bool:
    """Whether the name says that these are images without a part in training or test, as `unlabeled` does."""
    return not _LEFT_ASIDE.isdisjoint(words(name))


def not_read(names: Iterable[str]) -> str:
    """What a data set's card says of parts that nothing is made of; "" if there are none."""
    listed = sorted(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return f"; not read: {', '.join(listed[:_SHOWN])}{more}" if listed else ""


def is_unlabelled(labels: Iterable[object]) -> bool:
    """Whether nothing in it is a label: empty cells, or the -1 that often stands for them."""
    return all(label is None or label == -1 or label != label for label in labels)  # NaN is not even itself


def words(name: str) -> list[str]:
    """Its words in lower case, without digits and whatever else is between them."""
    return re.findall("[a-z]+", name.casefold())
