"""Joins the labels of a data set in several files, each of which may number its classes in its own way."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.data.formats.arrays import numbered
from benchmark.reading.text import printable, shown

Label = int | float | str | None
_LISTED = 5


@dataclass(frozen=True)
class LabelColumn:
    """Labels of one part of a file. values: numbers or names; None is no label. names: of the whole numbers."""

    file: str
    values: list[Label]
    names: tuple[str, ...] | None = None

    @classmethod
    def of(cls, file: str, values: Iterable[Any], names: tuple[str, ...] | None) -> "LabelColumn":
        """Raises ValueError for values that are neither numbers nor names."""
        return cls(file, [_label(file, value) for value in values], names)


def class_names(train: Sequence[LabelColumn], others: Sequence[LabelColumn]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """All classes, and those that whole numbers mean: all, or none where labels are texts.

    Those that a file publishes, the first for training before all others; else the training labels themselves: whole
    numbers name the classes 0 to the largest; texts, and numbers with a point, are sorted. Raises ValueError for empty
    training labels, and where some are numbers and others texts.
    """
    for column in train:
        num_empty = sum(value is None for value in column.values)
        if num_empty:
            raise ValueError(f"{column.file}: {num_empty} labels are empty; allowed: numbers or names")
    published = next((column.names for column in [*train, *others] if column.names), None)
    if published is not None:
        return published, published
    values = [value for column in train for value in column.values]
    texts = {value for value in values if isinstance(value, str)}
    numbers = {value for value in values if isinstance(value, int | float)}
    if texts and numbers:
        raise ValueError(f"{train[0].file}: some labels are numbers and others are names; allowed: one of them")
    if not any(isinstance(value, int) for value in values):
        return tuple(sorted(texts)) or tuple(map(str, sorted(numbers))), ()
    if max(numbers) >= len(values):
        raise ValueError(
            f"{train[0].file}: holds label {max(numbers)} among {len(values)} images; allowed: one class an image"
        )
    names = numbered(max(0, int(max(numbers))) + 1)
    return names, names


def codes(column: LabelColumn, names: tuple[str, ...], numbers_mean: tuple[str, ...]) -> list[int]:
    """Places in `names`. numbers_mean: names of the whole numbers of a file that does not publish its own.

    Raises ValueError for what is none of the classes.
    """
    own = column.names or numbers_mean
    place = {name: i for i, name in enumerate(names)}
    found = []
    for value in column.values:
        name = str(float(value)) if isinstance(value, int | float) else value
        number = int(value) if isinstance(value, int | float) and float(value).is_integer() else -1
        if 0 <= number < len(own):
            if own == names:  # where two classes have one name, the number still tells them apart
                found.append(number)
                continue
            name = own[number]
        code = None if name is None else place.get(name)
        if code is None:
            held = shown(value) + (f", which is {shown(name)}" if name in own else "")
            allowed = printable(", ".join(names[:_LISTED])) + (", ..." if len(names) > _LISTED else "")
            raise ValueError(f"{column.file}: holds label {held}; allowed: {allowed}")
        found.append(code)
    return found


def _label(file: str, value: Any) -> Label:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, list | dict):
        raise ValueError(f"{file}: holds label {shown(value)}; allowed: numbers, or names")
    if isinstance(value, int | float):
        return value
    return str(value) if str(value).strip() else None
