"""Arrays and Parquet files as people have them: splits and classes under other names, other orders, no labels."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from data.test_user_images import IMAGES, LABELS, encoded

from benchmark.data.images import Dataset, ImageData
from benchmark.data.npz import NPZ
from benchmark.data.parquet import Parquet

PICTURES = [encoded(image) for image in IMAGES]


def npz(path: Path, **arrays: np.ndarray) -> NPZ:
    np.savez(path / "t.npz", **arrays)
    return NPZ(path=str(path / "t.npz"))


def parquet(path: Path, label: object, names: tuple[str, ...] = (), **columns: object) -> None:
    """One file of len(label) pictures; names: of the classes, as Hugging Face's `datasets` keeps them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({"image": PICTURES[: len(label)], "label": label, **columns})  # type: ignore[arg-type]
    if names:
        features = {"info": {"features": {"label": {"names": names}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    pq.write_table(table, path)


def refusal(data_set: Dataset) -> str:
    with pytest.raises(ValueError) as caught:
        data_set.load(None)
    assert "\n" not in str(caught.value) and str(data_set.path) in str(caught.value)  # type: ignore[attr-defined]
    return str(caught.value)


def load(path: Path) -> ImageData:
    return Parquet(path=str(path)).load(None)


TEST = {"x": IMAGES[:3], "y": LABELS[:3]}


@pytest.mark.parametrize(
    ("images", "labels", "test_images", "test_labels"),
    [
        ("images", "labels", "test_image", "test_label"),
        ("x_train", "y_train", "x_test", "y_test"),
        ("X_train", "y_train", "X_Test", "Y_Test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("images", "labels", "val_images", "val_labels"),
        ("data", "targets", "valid_data", "valid_targets"),
    ],
)
def test_arrays_have_the_names_that_people_give_them(
    tmp_path: Path, images: str, labels: str, test_images: str, test_labels: str
) -> None:
    data = npz(
        tmp_path, **{images: IMAGES, labels: LABELS, test_images: IMAGES[:3], test_labels: LABELS[:3], "ids": LABELS}
    ).load(None)
    assert (len(data.images), len(data.test_images)) == (12, 3)
    assert torch.equal(data.test_images, data.images[:3])
    assert data.card.endswith("; not read: ids")


def test_images_of_a_split_are_read_or_refused(tmp_path: Path) -> None:
    both = {"images": IMAGES, "labels": LABELS}
    said = refusal(npz(tmp_path, **both, test_pictures=IMAGES))
    assert "has the array test_pictures, which would not be read; allowed: images, labels, test_images" in said
    assert "has the array x_train, which would not be read" in refusal(npz(tmp_path, **both, x_train=IMAGES))
    said = refusal(npz(tmp_path, images=IMAGES, y=LABELS, label=LABELS))
    assert "has y and label, which mean the same; allowed: one of them" in said


def test_the_documented_names_come_before_others(tmp_path: Path) -> None:
    data = npz(tmp_path, x=IMAGES[:6], y=LABELS[:6], images=IMAGES, labels=LABELS).load(None)
    assert len(data.images) + len(data.test_images) == 12 and data.card.endswith("; not read: x, y")


def test_unlabelled_test_arrays_give_way_to_the_validation_set(tmp_path: Path) -> None:
    train = {"images": IMAGES, "labels": LABELS, "test_images": IMAGES}
    assert "has no label in test_labels: all are -1" in refusal(npz(tmp_path, **train, test_labels=LABELS * 0 - 1))
    val = {"val_images": IMAGES[:3], "val_labels": LABELS[:3]}
    for more in ({}, {"test_labels": LABELS * 0 - 1}, {"test_labels": np.full(12, np.nan)}):
        data = npz(tmp_path, **train, **more, **val).load(None)
        assert len(data.test_images) == 3
        assert data.card.endswith(f"; not read: {', '.join(sorted(['test_images', *more]))}")


def test_class_names_may_be_bytes(tmp_path: Path) -> None:
    data = npz(tmp_path, images=IMAGES, labels=LABELS, class_names=np.array([b"a", b"caf\xc3\xa9", b"\xff"])).load(None)
    assert data.class_names == ("a", "café", "\\udcff")


def test_pixels_of_0_and_1_are_not_taken_for_black(tmp_path: Path) -> None:
    small = (IMAGES > 127).astype(np.uint8)
    whole = {"images": IMAGES, "labels": LABELS}
    assert "no pixel of the training images is above 1 of 255" in refusal(npz(tmp_path, images=small, labels=LABELS))
    said = refusal(npz(tmp_path, **whole, test_images=small, test_labels=LABELS))
    assert "no pixel of the test images is above 1 of 255: are these in [0, 1]? allowed: uint8 from 0 to 255" in said
    twice = IMAGES / 255 / 255
    assert "no pixel of the training images is above 1" in refusal(npz(tmp_path, images=twice, labels=LABELS))
    data = npz(tmp_path, images=small.astype(float), labels=LABELS).load(None)  # floats may be 0 and 1
    assert data.images.unique().tolist() == [0, 255]


@pytest.mark.parametrize("name", ["valid.parquet", "validation.parquet", "val-00000-of-00001.parquet", "Dev.parquet"])
@pytest.mark.parametrize("folder", ["", "data"])
def test_validation_files_are_used(tmp_path: Path, name: str, folder: str) -> None:
    parquet(tmp_path / folder / "train.parquet", LABELS)
    parquet(tmp_path / folder / name, LABELS[:6])
    data = load(tmp_path)
    assert (len(data.images), len(data.test_images)) == (12, 6)


def test_a_folder_may_say_the_split_of_its_files(tmp_path: Path) -> None:
    parquet(tmp_path / "default" / "train" / "0000.parquet", LABELS)
    parquet(tmp_path / "default" / "Test" / "0000.parquet", LABELS[:6])
    parquet(tmp_path / "default" / "validation" / "0000.parquet", LABELS[:3])
    parquet(tmp_path / ".cache" / "train.parquet", LABELS[:3])
    data = load(tmp_path)
    assert (len(data.images), len(data.test_images)) == (12, 6)
    assert data.card.endswith("; not read: validation")


def test_files_that_might_be_splits_are_refused_and_others_named(tmp_path: Path) -> None:
    parquet(tmp_path / "train.parquet", LABELS)
    parquet(tmp_path / "metadata.parquet", LABELS)
    assert load(tmp_path).card.endswith("; not read: metadata.parquet")
    parquet(tmp_path / "cifar_test.parquet", LABELS)
    assert "holds cifar_test.parquet: is it a split? allowed:" in refusal(Parquet(path=str(tmp_path)))


def test_a_column_of_splits_may_be_written_in_any_case(tmp_path: Path) -> None:
    parquet(tmp_path / "t.parquet", LABELS, Split=["Training"] * 6 + ["VAL"] * 6)
    data = load(tmp_path / "t.parquet")
    assert (len(data.images), len(data.test_images)) == (6, 6)


def test_class_names_in_another_order_are_found_by_name(tmp_path: Path) -> None:
    parquet(tmp_path / "train-0.parquet", LABELS[:6], ("x", "y", "z"))
    parquet(tmp_path / "train-1.parquet", 2 - LABELS[6:], ("z", "y", "x"))
    parquet(tmp_path / "test-0.parquet", (LABELS[:3] + 1) % 3, ("z", "x", "y"))
    data = load(tmp_path)
    assert data.class_names == ("x", "y", "z")
    assert data.labels.tolist() == LABELS.tolist()
    assert data.test_labels.tolist() == LABELS[:3].tolist()


def test_names_and_numbers_of_files_are_brought_together_by_name(tmp_path: Path) -> None:
    parquet(tmp_path / "train.parquet", LABELS, ("z", "y", "x"))
    parquet(tmp_path / "test.parquet", ["x", "y", "z"])
    assert load(tmp_path).test_labels.tolist() == [2, 1, 0]
    parquet(tmp_path / "test.parquet", [0, 1, 2], ("x", "y", "w"))
    assert "test.parquet: holds label 2, which is 'w'; allowed: z, y, x" in refusal(Parquet(path=str(tmp_path)))
    parquet(tmp_path / "train.parquet", ["a", "b", "c"] * 2)
    parquet(tmp_path / "test.parquet", [0, 1, 2])
    assert "test.parquet: holds label 0; allowed: a, b, c" in refusal(Parquet(path=str(tmp_path)))
    parquet(tmp_path / "train-1.parquet", [0, 1, 2])
    assert "some labels are numbers and others are names" in refusal(Parquet(path=str(tmp_path)))


def test_two_classes_of_one_name_stay_two(tmp_path: Path) -> None:
    for name in ("train", "test"):
        parquet(tmp_path / f"{name}.parquet", LABELS, ("crane", "crane", "x"))
    assert load(tmp_path).labels.tolist() == LABELS.tolist()


@pytest.mark.parametrize("empty", [float("nan"), None])
def test_labels_that_are_none_are_no_class(tmp_path: Path, empty: float | None) -> None:
    file = tmp_path / "t.parquet"
    parquet(file, pa.array([empty, *map(float, LABELS[1:])], from_pandas=False))
    assert "1 labels are empty; allowed: numbers or names" in refusal(Parquet(path=str(file)))
    parquet(file, ["", " ", *map(str, LABELS[2:])])
    assert "2 labels are empty" in refusal(Parquet(path=str(file)))


def test_numbers_with_a_point_are_sorted_as_numbers(tmp_path: Path) -> None:
    parquet(tmp_path / "train.parquet", np.arange(12.0)[::-1] + 1)
    parquet(tmp_path / "test.parquet", np.arange(12) + 1)  # the same without a point
    data = load(tmp_path)
    assert data.class_names == tuple(f"{i}.0" for i in range(1, 13))
    assert data.labels.tolist() == list(range(12))[::-1] and data.test_labels.tolist() == list(range(12))
    parquet(tmp_path / "train.parquet", LABELS + 0.5)
    assert "test.parquet: holds label 1; allowed: 0.5, 1.5, 2.5" in refusal(Parquet(path=str(tmp_path)))


@pytest.mark.parametrize("names", [(), ("x", "y", "z")])
def test_a_point_in_one_file_does_not_make_other_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    parquet(tmp_path / "train-0.parquet", LABELS, names)
    parquet(tmp_path / "train-1.parquet", LABELS + 0.0, names)
    parquet(tmp_path / "test.parquet", LABELS[:6] + 0.0)
    data = load(tmp_path)
    assert len(data.class_names) == 3
    assert data.labels.tolist() == [*LABELS, *LABELS] and data.test_labels.tolist() == LABELS[:6].tolist()


def test_training_images_without_labels_are_refused(tmp_path: Path) -> None:
    parquet(tmp_path / "t.parquet", [-1] * 6)
    assert "t.parquet: holds label -1; allowed: class 0" in refusal(Parquet(path=str(tmp_path / "t.parquet")))


def test_labels_that_are_lists_are_refused(tmp_path: Path) -> None:
    parquet(tmp_path / "t.parquet", [[0], [1], [0]])
    assert "holds label [0]; allowed: numbers, or names" in refusal(Parquet(path=str(tmp_path / "t.parquet")))


@pytest.mark.parametrize("label", [[-1] * 3, pa.array([None] * 3, pa.int64())])
@pytest.mark.parametrize("names", [(), ("x", "y", "z")])
def test_unlabelled_test_files_give_way_to_the_validation_set(tmp_path: Path, label: object, names: tuple) -> None:
    parquet(tmp_path / "train.parquet", LABELS, names)
    parquet(tmp_path / "test.parquet", label, names)
    said = refusal(Parquet(path=str(tmp_path)))
    assert f"{tmp_path / 'test.parquet'} has no label but -1 or none; allowed: labels, or a labelled validation" in said
    parquet(tmp_path / "validation.parquet", LABELS[:6], names)
    data = load(tmp_path)
    assert len(data.test_images) == 6 and data.card.endswith("; not read: test")


def test_one_test_image_without_a_label_is_named(tmp_path: Path) -> None:
    parquet(tmp_path / "train.parquet", LABELS)
    parquet(tmp_path / "test.parquet", [0, 1, 2, -1])
    assert "test.parquet: holds label -1; allowed: class 0, class 1, class 2" in refusal(Parquet(path=str(tmp_path)))
