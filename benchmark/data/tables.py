"""Tables of images: one .npz of arrays, or Parquet as Hugging Face's `datasets` writes it."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field
from torch import Tensor

from benchmark.data.arrays import Array, image_data, to_labels, to_uint8
from benchmark.data.files import MALFORMED, one_line
from benchmark.data.imagefolder import decoded, find_folder
from benchmark.data.images import Dataset, ImageData

Part = tuple[Tensor, Tensor]
_SPLITS = ("train", "test", "validation")


class NPZ(Dataset):
    """Arrays `images` and `labels`, and if there are any `test_images`, `test_labels`, `class_names`.

    path: absolute, or below a data root. images: (N, H, W), (N, H, W, C) or (N, C, H, W), uint8 or float in [0, 1];
    floats are rounded to 256 levels. Without test images a fixed fifth of each class is the test set.
    """

    SOURCE = "the user's own"
    path: str = Field(min_length=1)

    def locate(self, root: Path | None) -> list[Path]:
        return [find_folder("npz", self.path, root)]

    def load(self, root: Path | None) -> ImageData:
        (path,) = self.locate(root)
        where = f"npz: {path}"
        arrays = _arrays(where, path)
        missing = {"images", "labels"} - set(arrays)
        if missing:
            raise ValueError(
                f"{where} has the arrays {', '.join(arrays) or 'none'}; {', '.join(sorted(missing))} missing"
            )
        if "test_labels" in arrays and "test_images" not in arrays:
            raise ValueError(f"{where} has test_labels but no test_images; allowed: both")
        names = arrays.get("class_names")
        if names is not None and (names.ndim != 1 or names.dtype.kind not in "US"):
            raise ValueError(f"{where}: class_names are {names.dtype} of shape {names.shape}; allowed: texts, (K,)")
        num_classes = None if names is None else len(names)
        train = _part(where, arrays, "", num_classes)
        test = _part(where, arrays, "test_", num_classes) if "test_images" in arrays else None
        class_names = _numbered(int(train[1].max()) + 1) if names is None else tuple(str(name) for name in names)
        if test is not None and int(test[1].max()) >= len(class_names):
            raise ValueError(f"{where}: test_labels hold {int(test[1].max())}; allowed: 0 to {len(class_names) - 1}")
        return image_data(where, train, test, class_names, _card(path, train, test, class_names))


class Parquet(Dataset):
    """Columns `image` (encoded pictures: bytes, or a struct with `bytes`) and `label`; `split` if there is one.

    path: absolute, or below a data root; a file, or a folder whose files are called train*.parquet and test*.parquet
    (or validation*), as Hugging Face's `datasets` names them; `split` says the same of rows. label: whole numbers, or
    names, which are sorted.
    All pictures must be of one size. Without a test split a fixed fifth of each class is the test set.
    """

    SOURCE = "the user's own"
    path: str = Field(min_length=1)
    image_column: str = "image"
    label_column: str = "label"

    def locate(self, root: Path | None) -> list[Path]:
        return [find_folder("parquet", self.path, root)]

    def load(self, root: Path | None) -> ImageData:
        (path,) = self.locate(root)
        where = f"parquet: {path}"
        splits: dict[str, tuple[list[Any], list[Any]]] = {name: ([], []) for name in _SPLITS}
        published: tuple[str, ...] | None = None
        for file, file_split in _files(where, path):
            table = _table(file, self.image_column, self.label_column)
            published = published or _published_names(table, self.label_column)
            pictures, labels = (table[name].to_pylist() for name in (self.image_column, self.label_column))
            column = table["split"].to_pylist() if "split" in table.column_names else [file_split] * len(table)
            for picture, label, split in zip(pictures, labels, column, strict=True):
                images, of_images = splits[_split(file, split)]
                images.append(picture)
                of_images.append(label)
        splits["test"] = splits["test"] if splits["test"][0] else splits["validation"]
        names = published or _sorted_names(where, splits["train"][1])
        train, test = (_decoded(where, *splits[split], names) for split in ("train", "test"))
        if train is None:
            raise ValueError(f"{where}: has no training image; allowed: a split or file called train")
        return image_data(where, train, test, names, _card(path, train, test, names))


def _arrays(where: str, path: Path) -> dict[str, Array]:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (*MALFORMED, NotImplementedError) as error:
        raise ValueError(f"{where} is damaged or no .npz of plain arrays ({one_line(error)})") from error


def _part(where: str, arrays: dict[str, Array], prefix: str, num_classes: int | None) -> Part:
    if f"{prefix}labels" not in arrays:
        raise ValueError(f"{where} has {prefix}images but no {prefix}labels; allowed: both")
    images = to_uint8(f"{where}: {prefix}images", arrays[f"{prefix}images"])
    return images, to_labels(f"{where}: {prefix}labels", arrays[f"{prefix}labels"], len(images), num_classes)


def _files(where: str, path: Path) -> list[tuple[Path, str]]:
    """(file, split) in the order of their names."""
    if path.is_file():
        return [(path, "train")]
    found = [(file, file.name) for file in sorted(path.rglob("*.parquet")) if file.name.startswith(_SPLITS)]
    if not found:
        raise ValueError(f"{where}: holds no train*.parquet; allowed: one file, or train*.parquet and test*.parquet")
    return found


def _split(file: Path, name: Any) -> str:
    """Which of the _SPLITS a file or a cell means. A test set proper comes before a validation set."""
    found = next((split for split in _SPLITS if str(name).startswith(split)), None)
    if found is None:
        raise ValueError(f"parquet: {file} has the split {name!r}; allowed: {', '.join(_SPLITS)}")
    return found


def _table(file: Path, image: str, label: str) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(file)
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"parquet: {file} is damaged or no Parquet ({one_line(error)})") from error
    for name in (image, label):
        if name not in table.column_names:
            raise ValueError(f"parquet: {file} has the columns {', '.join(table.column_names)}; {name!r} missing")
    return table


def _published_names(table: Any, label: str) -> tuple[str, ...] | None:
    """Class names that Hugging Face's `datasets` keeps in the file's metadata."""
    try:
        features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
        return tuple(str(name) for name in features[label]["names"])
    except (TypeError, KeyError, ValueError):
        return None


def _sorted_names(where: str, labels: list[Any]) -> tuple[str, ...]:
    """Whole numbers name the classes 0 to the largest; texts are sorted."""
    if any(label is None for label in labels):
        raise ValueError(
            f"{where}: {sum(label is None for label in labels)} labels are empty; allowed: numbers or names"
        )
    if all(isinstance(label, int) for label in labels):
        largest = max(labels, default=0)
        if largest >= max(1, len(labels)):
            raise ValueError(f"{where}: holds label {largest} among {len(labels)} images; allowed: one class an image")
        return _numbered(largest + 1)
    return tuple(sorted({str(label) for label in labels}))


def _decoded(where: str, pictures: list[Any], labels: list[Any], names: tuple[str, ...]) -> Part | None:
    """Labels are places in `names`, or names."""
    if not pictures:
        return None
    images = [_picture(where, i, picture) for i, picture in enumerate(pictures)]
    sizes = sorted({image.shape for image in images})
    if len(sizes) > 1:
        raise ValueError(f"{where}: pictures are of shapes {sizes[0]} and {sizes[-1]}; allowed: one size and mode")
    place = {name: i for i, name in enumerate(names)}
    codes = [label if isinstance(label, int) else place.get(str(label), -1) for label in labels]
    stacked = to_uint8(where, np.stack(images))
    return stacked, to_labels(where, np.array(codes), len(stacked), len(names))


def _picture(where: str, number: int, content: Any) -> Array:
    """(H, W) or (H, W, 3) uint8."""
    if isinstance(content, dict):
        content = content.get("bytes")
    if not isinstance(content, bytes):
        raise ValueError(f"{where}: picture {number} is {type(content).__name__}; allowed: the bytes of a picture file")
    try:
        return decoded(io.BytesIO(content))
    except ValueError as error:
        raise ValueError(f"{where}: picture {number} cannot be read ({error})") from error


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"class {i}" for i in range(count))


def _card(path: Path, train: Part, test: Part | None, names: tuple[str, ...]) -> str:
    _, channels, height, width = train[0].shape
    colour = "RGB" if channels == 3 else "grey"
    count = len(train[1]) + (len(test[1]) if test else 0)
    return f"{path.name}, {count:,} images of {width} x {height} {colour} pixels in {len(names)} classes"
