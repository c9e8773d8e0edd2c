"""Tables of encoded pictures, as Hugging Face's `datasets` writes them to Parquet."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from benchmark.data.formats.arrays import Array, Part, image_data, size_card, to_labels, to_uint8
from benchmark.data.formats.files import one_line
from benchmark.data.formats.label_columns import LabelColumn, class_names, codes
from benchmark.data.formats.splits import ALLOWED, SPLITS, is_unlabelled, not_read, split_of, split_words, words
from benchmark.data.imagefolder import decoded, find_folder
from benchmark.data.images import Dataset, ImageData
from benchmark.reading.text import printable, shown

_Chunk = tuple[list[Any], LabelColumn]
"""Pictures of one split in one file, and their labels."""


class Parquet(Dataset):
    """Columns `image` (encoded pictures: bytes, or a struct with `bytes`) and `label`; `split` if there is one.

    path: absolute, or below a data root; a file, or a folder whose files are called train*.parquet and test*.parquet
    (or another name of a split, or lie in a folder called so), as Hugging Face's `datasets` names them; `split` says
    the same of rows. label: whole numbers, or names, which are sorted; where files publish names of their numbers, the
    names count. All pictures must be of one size. Without a test split a fixed fifth of each class is the test set.
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
        files, unread = _files(where, path)
        chunks: dict[str, list[_Chunk]] = {split: [] for split in SPLITS}
        for file, split in files:
            for found, chunk in self._chunks(file, split):
                chunks[found].append(chunk)
        if not chunks["train"]:
            raise ValueError(f"{where}: has no training image; allowed: a split or file called train")
        test_split = _test_split(chunks)
        unread += [split for split in ("test", "validation") if chunks[split] and split != test_split]
        columns = {split: [labels for _, labels in found] for split, found in chunks.items()}
        names, numbers_mean = class_names(columns["train"], columns["test"] + columns["validation"])
        train, test = (
            _part(where, chunks[split], names, numbers_mean) if split else None for split in ("train", test_split)
        )
        assert train is not None
        return image_data(where, train, test, names, size_card(path, train, test, names) + not_read(unread))

    def _chunks(self, file: Path, file_split: str) -> Iterator[tuple[str, _Chunk]]:
        """(split, rows of it) of one file, rows in their order."""
        table = _table(file, self.image_column, self.label_column)
        names = _published_names(table, self.label_column)
        pictures, labels = (table[name].to_pylist() for name in (self.image_column, self.label_column))
        column = next((name for name in table.column_names if name.strip().casefold() == "split"), None)
        cells = table[column].to_pylist() if column else [None] * len(table)
        splits = [_split_of_cell(file, cell) for cell in cells] if column else [file_split] * len(table)
        for split in dict.fromkeys(splits):
            rows = [i for i, found in enumerate(splits) if found == split]
            values = LabelColumn.of(f"parquet: {file}", (labels[i] for i in rows), names)
            yield split, ([pictures[i] for i in rows], values)


def _files(where: str, path: Path) -> tuple[list[tuple[Path, str]], list[str]]:
    """(file, split) in the order of their names; and the names of files that are not read."""
    if path.is_file():
        return [(path, "train")], []
    found, unread = [], []
    for file in sorted(path.rglob("*.parquet")):
        above = file.relative_to(path).parts[:-1]
        if any(part.startswith(".") or part.endswith(".parquet") for part in (*above, file.stem)):
            continue  # hidden, or a part of a folder that is one table
        split = _begins_with(file.name) or next(filter(None, map(split_of, reversed(above))), None)
        if split is not None:
            found.append((file, split))
        elif split_words(str(file.relative_to(path))):
            raise ValueError(
                f"{where}: holds {printable(file.name)}: is it a split? allowed: a file, or a folder of files, whose "
                f"name begins with {ALLOWED}"
            )
        else:
            unread.append(printable(file.name))
    if not found:
        raise ValueError(f"{where}: holds no train*.parquet; allowed: one file, or train*.parquet and test*.parquet")
    return found, unread


def _begins_with(name: str) -> str | None:
    """The split that the first word of a name says, or begins with."""
    first = next(iter(words(name)), "")
    return split_of(first) or next((split for split in SPLITS if name.casefold().startswith(split)), None)


def _split_of_cell(file: Path, cell: Any) -> str:
    found = _begins_with(str(cell))
    if found is None:
        raise ValueError(f"parquet: {file} has the split {shown(cell)}; allowed: {', '.join(SPLITS)}")
    return found


def _test_split(chunks: dict[str, list[_Chunk]]) -> str | None:
    """The first of test and validation that has labels; None if there is neither. Raises ValueError if none is left."""
    files = []
    for split in ("test", "validation"):
        labels = [label for _, column in chunks[split] for label in column.values]
        if labels and not is_unlabelled(labels):
            return split
        files += [column.file for _, column in chunks[split]]
    if files:
        raise ValueError(f"{files[0]} has no label but -1 or none; allowed: labels, or a labelled validation split")
    return None


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


def _part(where: str, chunks: list[_Chunk], names: tuple[str, ...], numbers_mean: tuple[str, ...]) -> Part:
    images = [_picture(where, i, picture) for i, picture in enumerate(p for pictures, _ in chunks for p in pictures)]
    sizes = sorted({image.shape for image in images})
    if len(sizes) > 1:
        raise ValueError(f"{where}: pictures are of shapes {sizes[0]} and {sizes[-1]}; allowed: one size and mode")
    labels = [code for _, column in chunks for code in codes(column, names, numbers_mean)]
    stacked = to_uint8(where, np.stack(images))
    return stacked, to_labels(where, np.array(labels), len(stacked), len(names))


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
