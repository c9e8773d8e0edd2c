"""Reads the list of members in a user's file. It guesses nothing: a wrong list makes every number wrong."""

import csv
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.data.formats.arrays import Array
from benchmark.data.formats.files import MALFORMED, one_line
from benchmark.reading.text import read_text, shown

FORMATS = (".txt", ".csv", ".npy", ".npz")
COLUMNS = ("member", "members")
_INDEX = re.compile(r"[+-]?[0-9]{1,18}")  # so that it fits 64 bits
_NAME = re.compile(r"[^\W\d]")
"""How the name of a column begins; the number that pandas gives a column without one is taken for an index."""
_SEPARATORS = ",;\t"


def read_members(path: Path, num_train: int) -> Tensor:
    """(M,) ascending ids of the training images that a file lists.

    .txt: an index a line. .csv: an index a line; or columns with their names in the first line, of which the one called
    `member` or `members` counts, or the only one; separated by comma, semicolon or tab. .npy: a (M,) array of integers,
    or of bool, one for each training image; .npz: one such array, or one named `members`. num_train: training images
    of the data set.
    Raises ValueError, in one line, for a file that cannot be read or lists what is no set of training images.
    """
    suffix, name = path.suffix.lower(), repr(str(path))
    if suffix not in FORMATS:
        raise ValueError(f"{name} is not a list of members; allowed: {', '.join(FORMATS)}")
    try:
        content = _array(path) if suffix in (".npy", ".npz") else read_text(path)
    except MALFORMED as error:
        raise ValueError(f"{name} cannot be read: {one_line(error)}") from error
    if not isinstance(content, str):
        ids = _of_array(content, name, num_train)
    else:
        ids = torch.tensor(_of_text(content, name, named=suffix == ".csv"), dtype=torch.int64)
    return _checked(ids, name, num_train)


def _of_text(text: str, name: str, named: bool) -> list[int]:
    """The indices of a list or table. named: whether its first line may hold the names of columns."""
    rows = _rows(text, name)
    width, column = 1, 0
    if named and rows and all(not cell or _NAME.match(cell) for cell in rows[0][1]):
        names = rows.pop(0)[1]
        width, column = len(names), _column(names, name)
    allowed = "an integer a line, or a column called members" if named else "an integer a line"
    found = []
    for line, cells in rows:
        cell = cells[column] if column < len(cells) else ""
        if len(cells) > width or not _INDEX.fullmatch(cell):
            held = cell if len(cells) <= width else ",".join(cells)
            raise ValueError(f"{name} holds {shown(held, 40)} in line {line}; allowed: {allowed}")
        found.append(int(cell))
    return found


def _rows(text: str, name: str) -> list[tuple[int, list[str]]]:
    """(line, cells) of every line that is not empty; cells are stripped, and empty ones at the end left out."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    separator = next((mark for mark in _SEPARATORS if mark in first), ",")
    reader = csv.reader(io.StringIO(text, newline=None), delimiter=separator)
    rows = []
    try:
        for line in reader:
            cells = [cell.strip() for cell in line]
            while cells and not cells[-1]:
                cells.pop()
            if cells:
                rows.append((reader.line_num, cells))
    except csv.Error as error:
        raise ValueError(f"{name} cannot be read: line {reader.line_num}: {one_line(error)}") from error
    return rows


def _column(names: list[str], name: str) -> int:
    """Which column lists the members: its name says so, or there is no other. pandas puts one of its own first."""
    if len(names) == 1:
        return 0
    found = [place for place, column in enumerate(names) if column.casefold() in COLUMNS]
    if len(found) != 1:
        listed = shown(", ".join(column or "(no name)" for column in names))
        raise ValueError(f"{name} has the columns {listed}; allowed: one of them called members, or one column alone")
    return found[0]


def _array(path: Path) -> Array:
    with path.open("rb") as file:
        found: Any = np.load(file, allow_pickle=False)
        if isinstance(found, np.lib.npyio.NpzFile):
            names = found.files
            if "members" not in names and len(names) != 1:
                listed = ", ".join(names) or "none"
                raise ValueError(f"it holds the arrays {listed}; allowed: one array, or one named members")
            found = found["members" if "members" in names else names[0]]
        array: Array = found
        return array


def _of_array(array: Array, name: str, num_train: int) -> Tensor:
    if array.dtype == np.bool_ and array.shape == (num_train,):
        return torch.from_numpy(array).nonzero()[:, 0]
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(
            f"{name} holds an array of {array.dtype} and shape {array.shape}; allowed: integers of shape (number of "
            f"members,), or bool of shape ({num_train},)"
        )
    return torch.as_tensor(array.astype(np.int64))


def _checked(ids: Tensor, name: str, num_train: int) -> Tensor:
    if not len(ids):
        raise ValueError(f"{name} lists no members; allowed: at least one")
    outside = ids[(ids < 0) | (ids >= num_train)]
    if len(outside):
        raise ValueError(f"{name} lists {int(outside[0])}, which is no training image; allowed: 0 to {num_train - 1}")
    ordered = ids.sort().values
    again = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(again):
        mask = " (a mask of 0 and 1? an array of bool may be one)" if int(ordered[-1]) <= 1 else ""
        raise ValueError(f"{name} lists {int(again[0])} twice{mask}; allowed: each member once")
    return ordered
