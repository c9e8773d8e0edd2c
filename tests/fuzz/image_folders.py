"""Folders of pictures, with names, files, links and pictures of every kind. What is accepted has all its pictures."""

import os
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st

from benchmark.data.imagefolder import SUFFIXES, ImageFolder
from benchmark.data.images import ImageData
from benchmark.data.members.pools import PoolsSpec, make_pools

from .harness import Surface, asked, wrong
from .pictures import SIZE, level, picture, sound
from .values import spliced, splices

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
    st.tuples(st.just("link"), st.sampled_from(["../dog", "../cat", ".", "..", "nowhere", "0.png", "../../outside"])),
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
CASES = st.tuples(_tree, st.booleans())


def check(case: Any, folder: Path) -> None:
    tree, skip = case
    place = folder / "data"
    _plant(place, tree, "")
    images = asked(ImageFolder(path=str(place), size=SIZE, mode="L", skip_unreadable=skip).load, None)
    sound(images)
    _is_folder(images, place)
    asked(make_pools, images, PoolsSpec(), torch.Generator().manual_seed(0))


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
    tops = [path for path in place.iterdir() if not path.name.startswith(".") and path.name != "__MACOSX"]
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
    if train is None or len(parts) != 2 or len([path for path in tops if path.is_dir()]) != 2:
        return
    if sum(_counts(path) for path in train.iterdir() if path.is_dir()) != len(images.labels):
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


SURFACE = Surface("image_folders", CASES, check, examples=100)
