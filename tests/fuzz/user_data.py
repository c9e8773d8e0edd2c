"""Data of users: folders of pictures, .npz and Parquet files. What is accepted has the pictures and labels that it had.

Every sound picture is one grey whose level says which class it is of, so that each can be found again.
"""

import functools
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from hypothesis import strategies as st
from PIL import Image

from benchmark.data.imagefolder import SUFFIXES, ImageFolder
from benchmark.data.images import ImageData
from benchmark.data.npz import NPZ
from benchmark.data.parquet import Parquet
from benchmark.data.pools import PoolsSpec, make_pools

from .harness import Surface, asked, safe, wrong
from .members import DTYPES, array_of
from .values import odd_json, odd_scalars, spliced, splices

SIZE = 8
SPLITS = (
    "train",
    "test",
    "val",
    "valid",
    "validation",
    "Training",
    "Testing",
    "Train",
    "TEST",
    "dev",
    "eval",
    "holdout",
)
CLASSES = (
    "cat",
    "dog",
    "10",
    "2",
    "1.0",
    "nan",
    "é",
    "猫",
    " ",
    "a b",
    "-",
    "A",
    "a" * 200,
    "tr\nain",
    "\x1b[2J",
    "<b>",
    "cat.png",
)
FILES = (
    "0.png", "1.png", "2.PNG", "3.jpg", "4.jpeg", "5.jfif", "6.bmp", "7.gif", "8.tif", "9.webp", "10.pgm", "a.txt",
    "b.png.txt", "Thumbs.db", ".DS_Store", "._0.png", "desktop.ini", "noext", "c.PnG", "\udcff.png", "d\n.png",
    "e\x1b[31m.png",
)  # fmt: skip
FOLDERS = (".hidden", ".ipynb_checkpoints", "__MACOSX", "deep", "\udcff", "empty")
MODES = ("RGB", "L", "RGBA", "P", "1", "LA", "CMYK", "I;16", "F", "YCbCr")


def level(name: str) -> int:
    """The grey of a class, from 40 to 215."""
    return 40 + sum(map(ord, name)) * 37 % 176


@functools.cache
def picture(suffix: str, mode: str, size: tuple[int, int], grey: int) -> bytes:
    """A picture in the format of its suffix, in a mode that this has."""
    written = io.BytesIO()
    image = Image.new("L", size, grey)
    kind = Image.registered_extensions().get(suffix.lower(), "PNG")
    try:
        image.convert(mode).save(written, kind)
    except (OSError, ValueError, KeyError):
        return picture(".png", "L", size, grey)
    return written.getvalue()


_entry = st.one_of(
    st.tuples(st.just("picture"), st.just("L"), st.just((8, 8)), st.just([])),
    st.tuples(st.just("picture"), st.just("L"), st.just((8, 8)), st.just([])),
    st.tuples(
        st.just("picture"),
        st.sampled_from(MODES),
        st.sampled_from([(8, 8), (1, 1), (16, 9), (1, 3000), (64, 64)]),
        st.one_of(st.just([]), splices([b"\x00" * 8, b"\xff" * 4, b"IHDR", b"IDAT"], most=2)),
    ),
    st.tuples(st.just("bytes"), st.one_of(st.just(b""), st.binary(max_size=40))),
    st.tuples(
        st.just("link"), st.sampled_from(["../dog", "../cat", ".", "..", "/", "nowhere", "0.png", "../../outside"])
    ),
    st.tuples(st.just("pipe")),
)
_class = st.dictionaries(st.sampled_from(FILES), _entry, max_size=5)
_sound_class = st.integers(3, 6).map(lambda n: {f"{i}.png": ("picture", "L", (8, 8), []) for i in range(n)})
_nested = st.dictionaries(st.sampled_from(FOLDERS), _class, max_size=1)


@st.composite
def _folder_of_classes(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(
        st.one_of(st.just(["cat", "dog"]), st.lists(st.sampled_from((*CLASSES, *FOLDERS)), max_size=4, unique=True))
    )
    tree: dict[str, Any] = {}
    for name in names:
        tree[name] = draw(st.one_of(_sound_class, _sound_class, _class))
        if draw(st.integers(0, 4)) == 0:
            tree[name] = {**tree[name], **draw(_nested)}
    if draw(st.integers(0, 4)) == 0:
        tree[draw(st.sampled_from((*FILES, "linked")))] = draw(_entry)
    return tree


_tree = st.one_of(
    _folder_of_classes(),
    st.dictionaries(st.sampled_from(SPLITS), _folder_of_classes(), min_size=1, max_size=3),
    st.tuples(_folder_of_classes(), st.dictionaries(st.sampled_from((*SPLITS, *FILES)), _class, max_size=2)).map(
        lambda both: {**both[0], **both[1]}
    ),
)
_array_names = (
    "images", "labels", "test_images", "test_labels", "class_names", "x_train", "y_train", "x_test", "test_image",
    "val_images", "arr_0", "mask", "Images",
)  # fmt: skip
_array = st.tuples(
    st.sampled_from(DTYPES),
    st.sampled_from(
        [
            (10, 8, 8),
            (10, 8, 8, 3),
            (10, 3, 8, 8),
            (10,),
            (10, 1),
            (0,),
            (0, 8, 8),
            (),
            (10, 0, 8),
            (2, 2),
            (10, 3, 8, 3),
        ]
    ),
    st.lists(st.one_of(st.integers(0, 3), st.sampled_from([-1, 255, 256, 2**31, -(2**63)])), min_size=1, max_size=4),
)
_npz = st.fixed_dictionaries(
    {"num": st.sampled_from([10, 10, 20, 2]), "test": st.booleans(), "copies": st.booleans(), "names": st.booleans()},
    optional={
        "arrays": st.dictionaries(st.sampled_from(_array_names), _array, max_size=2),
        "gone": st.sampled_from(_array_names),
    },
)
_label = st.one_of(st.sampled_from(["cat", "dog", "10", "2", ""]), st.integers(-1, 12), odd_scalars())
_labels = st.one_of(
    st.lists(st.sampled_from(["cat", "dog", "cow"]), min_size=8, max_size=12),
    st.lists(st.integers(0, 2), min_size=8, max_size=12),
    st.lists(st.sampled_from([0.0, 1.0, 2.0, 10.0]), min_size=8, max_size=12),
    st.lists(_label, max_size=6),
)
_parquet = st.fixed_dictionaries(
    {"labels": _labels, "as": st.sampled_from(["struct", "struct", "bytes", "path", "text", "number", "none", "cut"])},
    optional={
        "names": st.one_of(st.permutations(["cat", "dog", "cow"]), odd_json()),
        "split": st.lists(
            st.sampled_from(["train", "test", "validation", "val", "TRAIN", None, "x"]), min_size=1, max_size=4
        ),
        "metadata": st.one_of(st.binary(max_size=9), odd_json()),
        "columns": st.permutations(["image", "label"]).map(tuple),
        "size": st.sampled_from([(8, 8), (8, 9), (1, 1)]),
        "again": st.booleans(),
    },
)
_file_names = st.sampled_from(
    ["train.parquet", "test.parquet", "train-00000.parquet", "valid.parquet", "val-00000.parquet", "validation.parquet",
     "Train.parquet", "data/train-0.parquet", "x.parquet", "dev.parquet"]
)  # fmt: skip
_broken = st.one_of(st.just([]), st.just([]), splices([b"PAR1", b"PK\x01\x02", b"\x00" * 8, b"(9999999999999,)"]))
CASES = st.one_of(
    st.tuples(st.just("imagefolder"), _tree, st.booleans()),
    st.tuples(st.just("imagefolder"), _tree, st.booleans()),
    st.tuples(st.just("npz"), _npz, _broken),
    st.tuples(st.just("parquet"), st.dictionaries(_file_names, _parquet, min_size=1, max_size=2), _broken),
)


def check(case: Any, folder: Path) -> None:
    place = folder / "data"
    kind, what, how = case
    if kind == "imagefolder":
        _plant(place, what, "")
        spec: Any = ImageFolder(path=str(place), size=SIZE, mode="L", skip_unreadable=how)
    elif kind == "npz":
        place.write_bytes(spliced(_npz_of(what), how))
        spec = NPZ(path=str(place))
    else:
        for name, described in what.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(spliced(_parquet_of(described), how))
        spec = Parquet(path=str(place))
    images = asked(spec.load, None)
    _sound(images)
    if kind == "imagefolder":
        _is_folder(images, place)
    elif not how:
        _is_coloured(images, kind)
    asked(make_pools, images, PoolsSpec(), torch.Generator().manual_seed(0))


def _sound(images: ImageData) -> None:
    safe(images.card, "card of a data set")
    for name in images.class_names:
        safe(name, "name of a class")
    if any(name.lower() in ("nan", "none", "") for name in images.class_names):
        wrong("what is no label names no class", str(images.class_names))
    if len(set(images.class_names)) < len(images.class_names):
        wrong("names of classes differ", str(images.class_names))
    assert len(images.fingerprint) == 64


def _is_coloured(images: ImageData, kind: str) -> None:
    """Pictures have the grey of the class that they are given, one that codecs changed by a little."""
    for pixels, labels in ((images.images, images.labels), (images.test_images, images.test_labels)):
        for one, label in zip(pixels, labels.tolist(), strict=True):
            if one.shape[1:] == (SIZE, SIZE) and abs(float(one.float().mean()) - level(_meant(images, label))) > 6:
                wrong(
                    f"pictures of {kind} keep their labels",
                    f"{images.class_names[label]} has {float(one.float().mean()):.0f}",
                )


def _meant(images: ImageData, label: int) -> str:
    """The class as it was written: whole numbers have the names `class 0`, `class 1`."""
    name = images.class_names[label]
    return str(label) if name == f"class {label}" else name.removesuffix(".0")


def _plant(place: Path, tree: dict[str, Any], name: str) -> None:
    place.mkdir(parents=True, exist_ok=True)
    for inner, what in tree.items():
        path = Path(os.fsdecode(os.fsencode(place / inner)))
        if isinstance(what, dict):
            _plant(path, what, name if inner in FOLDERS and name else inner)
        elif what[0] == "picture":
            path.write_bytes(spliced(picture(path.suffix, what[1], what[2], level(name)), what[3]))
        elif what[0] == "bytes":
            path.write_bytes(what[1])
        elif what[0] == "link":
            path.symlink_to(what[1])
        else:
            os.mkfifo(path)


def _is_folder(images: ImageData, place: Path) -> None:
    splits = {name.lower() for name in SPLITS}
    tops = [path for path in place.iterdir() if not path.name.startswith(".")]
    taken = {name for name in images.class_names if name.lower() in splits}
    if len(taken) > 1:
        wrong("splits are no classes", str(sorted(taken)))
    if any(path.is_symlink() for path in place.rglob("*")):
        return
    if any(path.is_dir() and path.name.lower() in splits for path in tops):
        _is_split(images, tops)
        return
    expected = sum(_counts(path) for path in tops if path.is_dir())
    if len(images.labels) + len(images.test_labels) != expected:
        wrong("every picture is read", f"{len(images.labels)} + {len(images.test_labels)} of {expected}")


def _is_split(images: ImageData, tops: list[Path]) -> None:
    """With `train` and one other split beside it, both are read, and nothing is held out."""
    parts = {path.name.lower(): path for path in tops if path.is_dir()}
    if set(images.class_names) & {path.name for path in tops}:
        return
    train = next((parts[name] for name in ("train", "training") if name in parts), None)
    if train is not None and len(parts) == 2 and _counts(train) != len(images.labels):
        wrong("no training picture is held out where there are test pictures", f"{sorted(parts)}: {len(images.labels)}")


def _counts(folder: Path) -> int:
    """Pictures below that can be read, as a person would count them."""
    found = 0
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder.parent).parts)
        if path.is_file() and path.suffix.lower() in SUFFIXES and not hidden:
            found += _opens(path)
    return found


def _opens(path: Path) -> bool:
    from benchmark.data.imagefolder import decoded

    try:
        decoded(path, "L")
    except ValueError:
        return False
    return True


def _npz_of(what: dict[str, Any]) -> bytes:
    num = what["num"]
    labels = np.arange(num) % 2
    noise = np.random.default_rng(0).integers(-30, 31, (num, SIZE, SIZE))
    images = (np.array([level(str(label)) for label in labels])[:, None, None] + noise).astype(np.uint8)
    arrays: dict[str, Any] = {"images": images, "labels": labels}
    if what["test"]:
        test = images if what["copies"] else np.flip(images, axis=2)
        arrays |= {"test_images": test, "test_labels": labels}
    if what["names"]:
        arrays["class_names"] = np.array(["0", "1"])
    arrays |= {name: array_of(array) for name, array in what.get("arrays", {}).items()}
    arrays.pop(what.get("gone", ""), None)
    written = io.BytesIO()
    np.savez(written, allow_pickle=True, **arrays)
    return written.getvalue()


def _parquet_of(what: dict[str, Any]) -> bytes:
    names, labels = what.get("names"), what["labels"]
    numbered = (
        isinstance(names, list) and len(names) == 3 and all(type(label) is int and 0 <= label < 3 for label in labels)
    )
    meant = [str(names[label] if numbered else label).removesuffix(".0") for label in labels]
    pictures = [picture(".png", "L", what.get("size", (SIZE, SIZE)), level(name)) for name in meant]
    cells: list[Any] = {
        "struct": [{"bytes": one, "path": None} for one in pictures],
        "bytes": pictures,
        "path": [{"bytes": None, "path": "/etc/passwd"} for _ in pictures],
        "text": ["0.png" for _ in pictures],
        "number": list(range(len(pictures))),
        "none": [None for _ in pictures],
        "cut": [one[:40] for one in pictures],
    }[what["as"]]
    columns: dict[str, Any] = {"image": cells, "label": labels}
    if "split" in what and labels:
        columns["split"] = [what["split"][i % len(what["split"])] for i in range(len(labels))]
    try:
        table = pa.table({name: columns[name] for name in (*what.get("columns", ("image", "label")), *columns)})
    except (pa.ArrowException, TypeError, ValueError, OverflowError):  # no column has these values
        table = pa.table({"image": cells, "label": pa.array([str(len(str(label))) for label in labels])})
    features = {"features": {"label": {"_type": "ClassLabel", "names": names}}} if "names" in what else None
    metadata = what.get("metadata", {"info": features} if features else None)
    if metadata is not None:
        text = metadata if isinstance(metadata, bytes) else json.dumps(metadata).encode("utf-8", "surrogatepass")
        table = table.replace_schema_metadata({"huggingface": text})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue().to_pybytes())


SURFACE = Surface("user_data", CASES, check, examples=150)
