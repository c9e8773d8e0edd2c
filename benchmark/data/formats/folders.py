"""Decides which folders of an image folder are splits and classes, and which files in them are pictures."""

import os
import re
from pathlib import Path

from benchmark.data.formats.files import one_line
from benchmark.data.formats.splits import ALLOWED, is_left_aside, split_of, split_words
from benchmark.reading.text import printable

SUFFIXES = frozenset(".jpg .jpeg .jpe .jfif .png .bmp .gif .tif .tiff .webp .pgm .ppm .pbm .pnm".split())
_FOREIGN = frozenset(".heic .heif .avif .jp2 .jxl .tga .dng .cr2 .nef .arw .exr".split())
_MAGIC = re.compile(
    rb"\xff\xd8\xff|\x89PNG|GIF8[79]a|BM.{4}\0{4}|II\*\0|MM\0\*|RIFF.{4}WEBP|P[1-6]\s[\d#]|\0\0\0\x0cjP|"
    rb".{4}ftyp(hei|mif|avi)",
    re.DOTALL,
)
"""How files begin that are pictures whatever they are called."""
_NO_CLASSES = frozenset(("__MACOSX", "__pycache__", "@eaDir", "$RECYCLE.BIN", "lost+found"))
_SHOWN = 5


def parts(where: str, folder: Path) -> tuple[Path, Path | None, list[str]]:
    """The folder of the training images, that of the test images if there is one, and the names of what is not read.

    Without a folder of class folders that is called `train` (or another name of it) all is one part. Raises ValueError
    if it cannot be told whether folders are parts or classes.
    """
    if not folder.is_dir():
        raise ValueError(f"{where}: is no folder; allowed: a folder of class folders")
    found = class_folders(folder)
    stray = _stray(folder)
    training = [path for path in found if split_of(path.name) == "train" and class_folders(path)]
    if not training:
        _refuse_splits(where, found)
        return folder, None, stray
    train = _only(where, training)
    others = [path for path in found if path != train]
    test = _test_part(where, others)
    unread = [path for path in others if path != test and _holds_pictures(path)]
    doubtful = [path.name for path in unread if test is None and not is_left_aside(path.name)]
    if doubtful:
        raise ValueError(
            f"{where}: holds {printable(doubtful[0])} beside {train.name}: are these splits or classes? allowed: "
            f"folders called {ALLOWED}, or class folders alone"
        )
    stray += [f"{train.name}/{name}" for name in _stray(train)]
    return train, test, [*stray, *(printable(path.name) for path in unread)]


def _refuse_splits(where: str, folders: list[Path]) -> None:
    """Raise ValueError if all these folders, of which none is for training, are called as splits are, or hold the same
    class folders beside one that is.
    """
    names = [path.name for path in folders]
    called = [name for name in names if split_words(name)]
    inner = {tuple(path.name for path in class_folders(folder)) for folder in folders}
    alike = len(inner) == 1 and () not in inner and any(map(split_of, names))
    if len(names) > 1 and called and (alike or all(name in called or is_left_aside(name) for name in names)):
        raise ValueError(
            f"{where}: holds {printable(', '.join(names[:_SHOWN]))}: are these splits? allowed: class folders inside "
            f"of folders called {ALLOWED}"
        )


def _test_part(where: str, folders: list[Path]) -> Path | None:
    """The folder of the test images, else of the validation images; pictures outside of class folders have no label."""
    unlabelled = None
    for split in ("test", "validation"):
        called = [path for path in folders if split_of(path.name) == split]
        labelled = [path for path in called if class_folders(path)]
        if labelled:
            return _only(where, labelled)
        unlabelled = unlabelled or next(iter(called), None)
    if unlabelled is not None:
        raise ValueError(
            f"{where}: {printable(unlabelled.name)} has no class folders, so that its images have no labels; allowed: "
            "the class folders of the training images"
        )
    return None


def _only(where: str, folders: list[Path]) -> Path:
    if len(folders) > 1:
        names = " and ".join(path.name for path in folders[:2])
        raise ValueError(f"{where}: holds {names}, which mean the same; allowed: one of them")
    return folders[0]


def class_folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not _hidden(path.name))


def class_names(where: str, folder: Path) -> tuple[str, ...]:
    """The names of the class folders, sorted. Raises ValueError unless there are two, with pictures in each."""
    folders = class_folders(folder)
    if len(folders) < 2:
        raise ValueError(f"{where}: holds {len(folders)} class folders; allowed: at least 2")
    inner = {split_of(path.name) for named in folders for path in class_folders(named)}
    if len(inner) > 1 and None not in inner:
        raise ValueError(
            f"{where}: its class folders hold splits ({', '.join(sorted(map(str, inner)))}); allowed: class folders "
            f"inside of folders called {ALLOWED}"
        )
    empty = [path.name for path in folders if not any(pictures(path))]
    if empty:
        raise ValueError(
            f"{where}: {len(empty)} class folders hold no picture: {printable(', '.join(empty[:_SHOWN]))}; "
            f"allowed: at least one file ending in {', '.join(sorted(SUFFIXES))}"
        )
    return tuple(path.name for path in folders)


def pictures(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files at any depth that end in one of SUFFIXES, sorted, and those that are pictures and do not.

    Links to folders are followed, after the folders that are really there; each is read once, so that loops end.
    Hidden files and folders are passed over. Raises ValueError for a folder that cannot be read.
    """
    if not folder.is_dir():
        return [], []
    found, foreign = list[Path](), list[Path]()
    seen = set(folder.resolve().parents)  # a link to one of them is a loop
    folders, links = [folder], list[Path]()
    while folders or links:
        top = folders.pop() if folders else links.pop(0)
        real = top.resolve()
        if real in seen:
            continue
        seen.add(real)
        for entry in _entries(top):
            path = top / entry.name
            if path.is_dir() if entry.is_symlink() else entry.is_dir():
                (links if entry.is_symlink() else folders).append(path)
            elif path.suffix.lower() in SUFFIXES:
                (found if entry.is_file() else foreign).append(path)  # a pipe would be waited for without end
            elif path.suffix.lower() in _FOREIGN or (path.is_file() and _begins_like_a_picture(path)):
                foreign.append(path)
    return sorted(found), sorted(foreign)


def _entries(folder: Path) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return sorted((entry for entry in entries if not _hidden(entry.name)), key=lambda entry: entry.name)
    except OSError as error:
        raise ValueError(f"imagefolder: {printable(str(folder))} cannot be read ({one_line(error)})") from error


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in _NO_CLASSES


def _begins_like_a_picture(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return _MAGIC.match(file.read(16)) is not None
    except OSError:
        return False


def _holds_pictures(folder: Path) -> bool:
    return any(pictures(folder))


def _stray(folder: Path) -> list[str]:
    """Pictures beside the class folders."""
    return [printable(path.name) for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file()]
