"""Image folders as people have them: splits under other names, links, hidden folders, foreign suffixes, odd names."""

import os
from pathlib import Path

import pytest
from PIL import Image

from benchmark.data.imagefolder import ImageFolder
from benchmark.data.images import ImageData


def save(path: Path, level: int, kind: str = "PNG") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (9, 9), level).save(path, kind)


def classes(root: Path, num: int = 3, names: tuple[str, ...] = ("cat", "dog")) -> Path:
    for c, name in enumerate(names):
        for i in range(num):
            save(root / name / f"{i}.png", 100 * c + 10 * i + 5)
    return root


def load(path: Path, **fields: object) -> ImageData:
    return ImageFolder(path=str(path), size=9, mode="L", **fields).load(None)  # type: ignore[arg-type]


def refusal(path: Path, **fields: object) -> str:
    with pytest.raises(ValueError) as caught:
        load(path, **fields)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("train", "test"),
    [("Training", "Testing"), ("Train", "Test"), ("TRAIN", "VAL"), ("train", "valid"), ("train", "validation")]
    + [("training", "dev"), ("train", "Eval")],
)
def test_splits_have_the_names_that_people_give_them(tmp_path: Path, train: str, test: str) -> None:
    classes(tmp_path / train), classes(tmp_path / test, 2)
    data = load(tmp_path)
    assert data.class_names == ("cat", "dog")
    assert (len(data.images), len(data.test_images)) == (6, 4)


def test_a_test_set_comes_before_a_validation_set_which_is_named(tmp_path: Path) -> None:
    classes(tmp_path / "train"), classes(tmp_path / "Test", 2), classes(tmp_path / "valid", 1)
    data = load(tmp_path)
    assert len(data.test_images) == 4 and data.card.endswith("; not read: valid")


@pytest.mark.parametrize("names", [("train", "test"), ("Training", "Testing"), ("seg_train", "seg_test", "seg_pred")])
def test_splits_without_class_folders_are_no_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    said = refusal(classes(tmp_path, names=names))
    assert f"holds {', '.join(sorted(names))}: are these splits? allowed: class folders inside of folders" in said


@pytest.mark.parametrize("names", [("training_set", "test_set"), ("val", "test")])
def test_splits_under_names_that_are_not_known_are_no_classes(tmp_path: Path, names: tuple[str, str]) -> None:
    for name in names:
        classes(tmp_path / name)
    assert "are these splits?" in refusal(tmp_path)


def test_splits_inside_of_classes_are_not_mixed(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        classes(tmp_path / name, names=("train", "test"))
    assert "its class folders hold splits (test, train)" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["test_set", "bus", "fold2"])
def test_a_sibling_of_train_may_be_a_split_or_a_class(tmp_path: Path, name: str) -> None:
    classes(tmp_path / "train"), classes(tmp_path / name)
    assert f"holds {name} beside train: are these splits or classes?" in refusal(tmp_path)


def test_what_is_not_read_is_named_on_the_card(tmp_path: Path) -> None:
    classes(tmp_path / "train"), classes(tmp_path / "test")
    save(tmp_path / "extra" / "a.png", 9), save(tmp_path / "train" / "stray.png", 9)
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "a.xml").write_text("<a/>")
    data = load(tmp_path)
    assert len(data.images) == 6
    assert data.card.endswith("9 x 9 pixels; not read: extra, train/stray.png")


def test_two_folders_for_one_split_are_refused(tmp_path: Path) -> None:
    classes(tmp_path / "train"), classes(tmp_path / "test"), classes(tmp_path / "Testing")
    assert "holds Testing and test, which mean the same" in refusal(tmp_path)


def test_test_pictures_without_labels_give_way_to_the_validation_set(tmp_path: Path) -> None:
    classes(tmp_path / "train"), save(tmp_path / "test" / "1.png", 9)
    assert "test has no class folders, so that its images have no labels" in refusal(tmp_path)
    classes(tmp_path / "val", 2)
    data = load(tmp_path)
    assert len(data.test_images) == 4 and data.card.endswith("; not read: test")


def test_links_to_folders_are_followed_and_loops_end(tmp_path: Path) -> None:
    root, elsewhere = classes(tmp_path / "pets"), classes(tmp_path / "elsewhere", 5, ("more", "all"))
    (root / "cat" / "0-linked").symlink_to(elsewhere / "more")
    (root / "cat" / "again").symlink_to(elsewhere / "more")  # each folder once
    (elsewhere / "more" / "back").symlink_to(root / "cat")
    (root / "dog" / "up").symlink_to(root)
    (root / "dog" / "self").symlink_to("self")
    (root / "eel").symlink_to(elsewhere / "all")
    data = load(root)
    assert data.class_names == ("cat", "dog", "eel")
    assert (data.labels.bincount() + data.test_labels.bincount()).tolist() == [8, 3, 5]


def test_links_change_nothing_of_what_is_really_there(tmp_path: Path) -> None:
    root = classes(tmp_path / "pets")
    save(root / "cat" / "deep" / "9.png", 77)
    before = load(root).fingerprint
    (root / "cat" / "a-link").symlink_to(root / "cat" / "deep")
    assert load(root).fingerprint == before


@pytest.mark.parametrize("name", [".ipynb_checkpoints", "__MACOSX", ".git"])
def test_hidden_folders_are_no_classes_and_hold_no_pictures(tmp_path: Path, name: str) -> None:
    before = load(classes(tmp_path)).fingerprint
    save(tmp_path / name / "0.png", 50)
    save(tmp_path / "cat" / name / "0-checkpoint.png", 50)
    data = load(tmp_path)
    assert data.fingerprint == before and data.class_names == ("cat", "dog")


def test_jfif_is_a_picture(tmp_path: Path) -> None:
    save(classes(tmp_path) / "cat" / "9.jfif", 50, "JPEG"), save(tmp_path / "dog" / "9.JPE", 50, "JPEG")
    assert "8 pictures" in load(tmp_path).card


@pytest.mark.parametrize(
    ("name", "kind"), [("0001", "JPEG"), ("9.image", "PNG"), ("9.bin", "WEBP"), ("9.jpg~", "JPEG")]
)
def test_pictures_under_a_foreign_suffix_are_named(tmp_path: Path, name: str, kind: str) -> None:
    save(classes(tmp_path) / "cat" / name, 50, kind)
    (tmp_path / "cat" / "notes.txt").write_text("P is for pictures")
    said = refusal(tmp_path)
    assert (
        f"1 files cannot be read as pictures: cat/{name}; mend or remove them, give them a suffix that is read" in said
    )
    assert "1 unreadable files left out" in load(tmp_path, skip_unreadable=True).card


def test_a_suffix_of_pictures_that_are_not_read_is_named(tmp_path: Path) -> None:
    (classes(tmp_path) / "cat" / "9.heic").write_bytes(b"whatever")
    assert "1 files cannot be read as pictures: cat/9.heic" in refusal(tmp_path)


NO_TEXT = [(b"caf\xe9", "caf\\udce9"), (b"a\xff\xfe", "a\\udcff\\udcfe"), (b"a\x1b[31mb", "a\\x1b[31mb")]


@pytest.mark.parametrize(("name", "shown"), NO_TEXT)
def test_class_folders_whose_names_are_no_text_are_shown_escaped(tmp_path: Path, name: bytes, shown: str) -> None:
    before = load(classes(tmp_path, names=("a", "zebra"))).fingerprint
    (tmp_path / "a").rename(tmp_path / os.fsdecode(name))
    data = load(tmp_path)
    assert data.class_names == (shown, "zebra") and data.fingerprint == before
    (tmp_path / os.fsdecode(name) / "0.png").write_bytes(b"")
    assert f"{shown}/0.png; mend" in refusal(tmp_path)


@pytest.mark.parametrize("levels", [(0, 1), (0, 0), (1, 1)])
def test_pictures_of_0_and_1_are_not_taken_for_black(tmp_path: Path, levels: tuple[int, int]) -> None:
    for name, level in zip(("a", "b"), levels, strict=True):
        for i in range(3):
            save(tmp_path / name / f"{i}.png", level)
    assert f"no pixel of the training images is above {max(levels)} of 255: are these in [0, 1]?" in refusal(tmp_path)


@pytest.mark.parametrize("other", ["holdout", "unseen"])
def test_a_split_beside_a_folder_of_the_same_classes_is_no_class(tmp_path: Path, other: str) -> None:
    for part in ("test", other):
        for name in ("cat", "dog"):
            (tmp_path / part / name).mkdir(parents=True)
            Image.new("L", (8, 8), 90).save(tmp_path / part / name / "0.png")
    with pytest.raises(ValueError, match="are these splits"):
        ImageFolder(path=str(tmp_path), size=8, mode="L").load(None)
