"""Pools of a model that was trained elsewhere: its declared members against images that it never saw."""

import csv
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from benchmark.data.duplicates import near_duplicate_groups
from benchmark.data.images import ImageData
from benchmark.data.pools import draw, proportional

FORMATS = (".txt", ".csv", ".npy", ".npz")
_INDEX = re.compile(r"[+-]?[0-9]{1,18}")  # so that it fits 64 bits
SMALLEST = 2
"""Images of a class in each gallery: with one, its mean and its nearest neighbour are the same image."""


def read_members(path: Path, num_train: int) -> Tensor:
    """(M,) ascending ids of the training images that a file lists.

    .txt, .csv: an index a line; a csv may have a header and more columns, of which the first counts. .npy: a (M,)
    array of integers; .npz: one such array, or one named `members`. num_train: training images of the data set.
    Raises ValueError, in one line, for a file that cannot be read or lists what is no set of training images.
    """
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"{str(path)!r} is not a list of members; allowed: {', '.join(FORMATS)}")
    try:
        arrays = path.suffix.lower() in (".npy", ".npz")
        ids = _of_arrays(path) if arrays else torch.tensor(list(_of_lines(path)), dtype=torch.int64)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, zipfile.BadZipFile) as error:
        raise ValueError(f"{str(path)!r} cannot be read: {' '.join(str(error).split())}") from error
    return _checked(ids, str(path), num_train)


def _of_lines(path: Path) -> Iterator[int]:
    with path.open(encoding="utf-8", newline="") as file:
        for number, cells in enumerate(csv.reader(file), start=1):
            text = cells[0].strip() if cells else ""
            if not text:
                continue
            if _INDEX.fullmatch(text):
                yield int(text)
            elif number > 1 or path.suffix.lower() != ".csv":  # a csv may begin with the names of its columns
                raise ValueError(f"{str(path)!r} holds {text[:40]!r} in line {number}; allowed: an integer a line")


def _of_arrays(path: Path) -> Tensor:
    try:
        with path.open("rb") as file:
            found: Any = np.load(file, allow_pickle=False)
            if isinstance(found, np.lib.npyio.NpzFile):
                names = found.files
                if "members" not in names and len(names) != 1:
                    listed = ", ".join(names) or "none"
                    raise ValueError(f"it holds the arrays {listed}; allowed: one array, or one named members")
                found = found["members" if "members" in names else names[0]]
            array: np.ndarray[Any, Any] = found
    except ValueError as error:  # a pickle, a foreign file
        raise ValueError(f"{str(path)!r} cannot be read: {' '.join(str(error).split())}") from error
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        shape = f"an array of {array.dtype} and shape {array.shape}"
        raise ValueError(f"{str(path)!r} holds {shape}; allowed: integers of shape (number of members,)")
    return torch.as_tensor(array.astype(np.int64))


def _checked(ids: Tensor, name: str, num_train: int) -> Tensor:
    if not len(ids):
        raise ValueError(f"{name!r} lists no members; allowed: at least one")
    outside = ids[(ids < 0) | (ids >= num_train)]
    if len(outside):
        raise ValueError(f"{name!r} lists {int(outside[0])}, which is no training image; allowed: 0 to {num_train - 1}")
    ordered = ids.sort().values
    again = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(again):
        raise ValueError(f"{name!r} lists {int(again[0])} twice; allowed: each member once")
    return ordered


def declared_pools(
    data: ImageData, pools: dict[str, Tensor], members: Tensor, duplicate_cosine: float | None, generator: Generator
) -> dict[str, Tensor]:
    """The pools of a suite, cut anew for a model with declared members.

    pools: of `make_pools`. members: (M,) ids of training images. duplicate_cosine: as in `PoolsSpec`.

    IN are members from the private pool; auxiliary images never, since evaluators and whitening were fitted on them.
    OUT are private images that are no members and no near-duplicates of one; where a class has fewer of them than
    members, test images that are no near-duplicates of a training image fill up. Both sides have equally many of each
    class: as many as the smaller side has, and in all no more than the suite's `num_members`. The rest is drawn.

    Returns the tensors of `make_pools` with "private" as IN and OUT together, and "members" and "non_members",
    ascending ids in the one index space of `ImageData`. Raises ValueError, in one line, if a class has too few.
    """
    private, group = pools["private"], pools["group"]
    num_classes = int(data.labels[private].max()) + 1
    inside = private[torch.isin(private, members)]
    outside = private[~torch.isin(group[private], group[members])]
    sizes = [_per_class(data, ids, num_classes) for ids in (inside, outside)]
    test = torch.zeros(0, dtype=torch.int64)
    if bool((sizes[1] < sizes[0]).any()):
        test = data.test_ids(_unlike_training(data, num_classes, duplicate_cosine))
    of_test = _per_class(data, test, num_classes)
    quotas = torch.minimum(sizes[0], sizes[1] + of_test)
    _check_quotas(quotas, sizes[0], sizes[1], of_test)
    limit = int(pools["num_members"])
    if 0 < limit < int(quotas.sum()):
        quotas = proportional(limit, quotas, "num_members")
    known = torch.minimum(quotas, sizes[1])
    chosen = [
        ids[draw(data.classes(ids), quota, generator)]
        for ids, quota in ((inside, quotas), (outside, known), (test, quotas - known))
    ]
    out = torch.cat(chosen[1:]).sort().values
    whole = torch.cat([chosen[0], out]).sort().values
    return {**pools, "private": whole, "members": chosen[0], "non_members": out}


def _per_class(data: ImageData, ids: Tensor, num_classes: int) -> Tensor:
    return data.classes(ids).bincount(minlength=num_classes)


def _unlike_training(data: ImageData, num_classes: int, duplicate_cosine: float | None) -> Tensor:
    """Ascending places of the test images that are near-duplicates of no training image."""
    train = (data.labels < num_classes).nonzero()[:, 0]
    test = (data.test_labels < num_classes).nonzero()[:, 0]
    if duplicate_cosine is None:
        return test
    images, mean_image = data.images[train], data.images[train].float().mean(dim=0)
    found = near_duplicate_groups(torch.cat([images, data.test_images[test]]), mean_image, duplicate_cosine)
    return test[~torch.isin(found[len(train) :], found[: len(train)])]


def _check_quotas(quotas: Tensor, inside: Tensor, outside: Tensor, of_test: Tensor) -> None:
    if int(quotas.min()) < SMALLEST:
        label = int(quotas.argmin())
        raise ValueError(
            f"members: class {label} has {int(inside[label])} declared members in the private pool, and "
            f"{int(outside[label])} private and {int(of_test[label])} test images that are neither members nor "
            f"near-duplicates; needed: {SMALLEST} on each side"
        )
