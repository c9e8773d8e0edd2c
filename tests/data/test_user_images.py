"""Image folders, .npz and Parquet tables of the user's own, whole and broken."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from benchmark.data.formats.arrays import TEST_SHARE, channel_statistics, held_out_for_test, resized
from benchmark.data.imagefolder import ImageFolder, decoded, square
from benchmark.data.npz import NPZ
from benchmark.data.parquet import Parquet
from benchmark.spec import SpecError

RNG = np.random.default_rng(0)


def picture(level: int, size: tuple[int, int] = (16, 16), mode: str = "RGB") -> Image.Image:
    colour = (level, 255 - level, 7)
    return Image.new(mode, size, colour if mode == "RGB" else level)


def folder(root: Path, classes: tuple[str, ...] = ("cat", "dog"), num: int = 5) -> Path:
    for c, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(num):
            picture(10 * i + 100 * c).save(root / name / f"{i}.png")
    return root


def test_an_image_folder_without_a_test_part(tmp_path: Path) -> None:
    data = ImageFolder(path="pets", size=16).load(folder(tmp_path / "pets").parent)
    assert data.class_names == ("cat", "dog")
    assert data.labels.bincount().tolist() == [4, 4]
    assert data.test_labels.bincount().tolist() == [1, 1]  # a fifth of five
    levels = sorted([*data.images[data.labels == 1][:, 0, 0, 0].tolist(), *data.test_images[1:, 0, 0, 0].tolist()])
    assert levels == [100, 110, 120, 130, 140]
    assert data.images[:, 1].eq(255 - data.images[:, 0]).all()


@pytest.mark.parametrize("test_name", ["test", "val"])
def test_an_image_folder_with_a_test_part(tmp_path: Path, test_name: str) -> None:
    folder(tmp_path / "train", num=3)
    folder(tmp_path / test_name, num=2)
    data = ImageFolder(path=str(tmp_path), size=8).load(None)
    assert (len(data.images), len(data.test_images)) == (6, 4)
    assert data.images.shape[1:] == (3, 8, 8)


def test_pictures_are_cut_to_their_middle_square_and_made_grey(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(2):
            wide = picture(200, (40, 20), "L")
            wide.paste(50, (10, 0, 30, 20))  # the middle square
            wide.save(tmp_path / name / f"{i}.jpg", quality=100)
    data = ImageFolder(path=str(tmp_path), size=10, mode="L").load(None)
    assert data.images.shape == (2, 1, 10, 10)
    assert (data.images.int() - 50).abs().max() <= 3


def test_unreadable_pictures_are_counted_and_named_or_skipped(tmp_path: Path) -> None:
    folder(tmp_path / "pets")
    (tmp_path / "pets" / "cat" / "0.png").write_bytes(b"not a picture")
    whole = (tmp_path / "pets" / "dog" / "1.png").read_bytes()
    (tmp_path / "pets" / "dog" / "1.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"2 files cannot be read as pictures: cat/0.png, dog/1.png; mend") as caught:
        ImageFolder(path=str(tmp_path / "pets"), size=16).load(None)
    assert "skip_unreadable: true" in str(caught.value)
    data = ImageFolder(path=str(tmp_path / "pets"), size=16, skip_unreadable=True).load(None)
    assert len(data.labels) + len(data.test_labels) == 8
    assert "2 unreadable files left out" in data.card


def test_folders_that_are_no_image_folders(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "one" / "only").mkdir(parents=True)
    folder(tmp_path / "hollow")
    (tmp_path / "hollow" / "bird").mkdir()
    for path, why in (
        ("nowhere", "path 'nowhere' is not there; looked at"),
        ("file", "is no folder; allowed: a folder of class folders"),
        ("one", "holds 1 class folders; allowed: at least 2"),
        ("hollow", "1 class folders hold no picture: bird"),
    ):
        with pytest.raises(ValueError, match=why):
            ImageFolder(path=path, size=16).load(tmp_path)


def test_a_class_of_which_nothing_is_readable(tmp_path: Path) -> None:
    folder(tmp_path / "pets")
    for path in (tmp_path / "pets" / "dog").iterdir():
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="1 classes have no training image: dog"):
        ImageFolder(path=str(tmp_path / "pets"), size=16, skip_unreadable=True).load(None)


IMAGES = RNG.integers(0, 256, (12, 9, 9, 3), dtype=np.uint8)
LABELS = np.arange(12) % 3


def npz(path: Path, **arrays: np.ndarray) -> NPZ:
    np.savez(path / "t.npz", **arrays)
    return NPZ(path=str(path / "t.npz"))


@pytest.mark.parametrize("scale", [None, np.float32, np.float64])
@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_arrays_come_back_to_the_level(tmp_path: Path, layout: str, scale: type | None) -> None:
    images = IMAGES if layout == "NHWC" else IMAGES.transpose(0, 3, 1, 2)
    images = images if scale is None else images.astype(scale) / 255
    tests = {"test_images": images[:3], "test_labels": LABELS[:3]}
    data = npz(tmp_path, images=images, labels=LABELS, class_names=np.array(["a", "b", "c"]), **tests).load(None)
    assert torch.equal(data.images, torch.from_numpy(IMAGES.transpose(0, 3, 1, 2).copy()))
    assert torch.equal(data.test_images, data.images[:3])
    assert data.class_names == ("a", "b", "c")
    pixels = IMAGES.transpose(3, 0, 1, 2).reshape(3, -1) / 255
    assert data.mean == pytest.approx(pixels.mean(1), abs=1e-12)
    assert data.std == pytest.approx(pixels.std(1), abs=1e-12)


def with_nan(images: np.ndarray) -> np.ndarray:
    broken = images / 255
    broken[[4, 7], 0, 0, 0] = np.nan, np.inf
    return broken


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"images": with_nan(IMAGES)}, "2 images hold NaN or infinity, the first is 4"),
        ({"images": IMAGES / 200}, "pixels reach from 0 to 1.275; allowed: floats in \\[0, 1\\], or uint8"),
        ({"images": IMAGES / 255 - 0.1}, "pixels reach from -0.1 to 0.9"),
        ({"images": IMAGES.astype(np.int64)}, "images are of type int64"),
        ({"images": IMAGES[..., :2]}, "images have shape \\(12, 9, 9, 2\\)"),
        ({"images": IMAGES[0]}, "labels have shape \\(12,\\); allowed: one for each of 9 images"),
        ({"images": IMAGES[0, 0]}, "images have shape \\(9, 3\\)"),
        ({"labels": LABELS[:5]}, "labels have shape \\(5,\\); allowed: one for each of 12 images"),
        ({"labels": LABELS.astype(float)}, "labels are of type float64"),
        ({"labels": LABELS - 1}, "holds label -1; allowed: 0 to 2"),
        ({"labels": LABELS + 1}, "holds label 3; allowed: 0 to 2"),
        ({"labels": np.where(LABELS == 1, 0, LABELS)}, "1 classes have no training image: b"),
        ({"test_images": IMAGES}, "test_images but no test_labels"),
        ({"test_labels": LABELS}, "test_labels but no test_images"),
        ({"images": IMAGES / 255 * 1.001}, "pixels reach from 0 to 1.001; allowed: floats in"),
        ({"images": IMAGES[:, :3, :, :1]}, "may have their channels second or last"),
        ({"labels": LABELS[:, None]}, "labels have shape \\(12, 1\\)"),
        ({"class_names": np.array("abc")}, "class_names are <U3 of shape \\(\\); allowed: texts"),
        ({"test_images": IMAGES[:, :8], "test_labels": LABELS}, "of 3 x 9 x 9 and 3 x 8 x 9 pixels; allowed: one size"),
        ({"test_images": IMAGES, "test_labels": LABELS * 0}, "2 classes have no test image: b, c"),
        ({"test_images": IMAGES, "test_labels": LABELS + 5}, "test_labels: image 2 holds label 7; allowed: 0 to 2"),
    ],
)
def test_wrong_arrays_are_one_line(tmp_path: Path, change: dict[str, np.ndarray], why: str) -> None:
    arrays = {"images": IMAGES, "labels": LABELS, "class_names": np.array(["a", "b", "c"])} | change
    with pytest.raises(ValueError, match=why) as caught:
        npz(tmp_path, **arrays).load(None)
    assert "t.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_npz(tmp_path: Path) -> None:
    objects = {"images": np.array([{"a": 1}], dtype=object), "labels": LABELS}
    with pytest.raises(ValueError, match="is damaged or no .npz of plain arrays"):
        npz(tmp_path, **objects).load(None)  # pickled objects are not read
    with pytest.raises(ValueError, match="labels missing"):
        npz(tmp_path, images=IMAGES).load(None)
    (tmp_path / "t.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match="is damaged or no .npz"):
        NPZ(path=str(tmp_path / "t.npz")).load(None)


def encoded(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


HF = pa.schema(
    [("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("label", pa.int64())],
    metadata={"huggingface": json.dumps({"info": {"features": {"label": {"names": ["x", "y", "z"]}}}})},
)


def hugging_face(path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {"image": {"bytes": encoded(i), "path": None}, "label": int(y)} for i, y in zip(images, labels, strict=True)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=HF), path)


def test_parquet_as_hugging_face_writes_it(tmp_path: Path) -> None:
    hugging_face(tmp_path / "d" / "data" / "train-00000-of-00002.parquet", IMAGES[:6], LABELS[:6])
    hugging_face(tmp_path / "d" / "data" / "train-00001-of-00002.parquet", IMAGES[6:], LABELS[6:])
    hugging_face(tmp_path / "d" / "data" / "test-00000-of-00001.parquet", IMAGES[:3], LABELS[:3])
    data = Parquet(path="d").load(tmp_path)
    assert torch.equal(data.images, torch.from_numpy(IMAGES.transpose(0, 3, 1, 2).copy()))
    assert data.labels.tolist() == LABELS.tolist()
    assert len(data.test_labels) == 3
    assert data.class_names == ("x", "y", "z")


def test_one_parquet_file_with_names_and_a_split(tmp_path: Path) -> None:
    names = np.array(["zebra", "ant", "mole"])[LABELS]
    table = {"image": [encoded(i[..., 0]) for i in IMAGES], "label": names, "split": ["train"] * 9 + ["test"] * 3}
    pq.write_table(pa.table(table), tmp_path / "t.parquet")
    data = Parquet(path=str(tmp_path / "t.parquet")).load(None)
    assert data.class_names == ("ant", "mole", "zebra")
    assert data.labels[:3].tolist() == [2, 0, 1]
    assert data.images.shape == (9, 1, 9, 9)
    assert torch.equal(data.test_images[:, 0], torch.from_numpy(IMAGES[9:, ..., 0].copy()))


def test_wrong_parquet_is_one_line(tmp_path: Path) -> None:
    good = {"image": [encoded(i) for i in IMAGES], "label": LABELS}
    for change, why in (
        ({"image": [b"no picture"] * 12}, "picture 0 cannot be read"),
        (
            {"image": [*good["image"][:11], encoded(IMAGES[0, :5])]},
            r"pictures are of shapes \(5, 9, 3\) and \(9, 9, 3\)",
        ),
        ({"label": [None, *LABELS[1:].tolist()]}, "1 labels are empty"),
        ({"label": [-1, *LABELS[1:].tolist()]}, "holds label -1"),
        ({"image": [None] * 12}, "picture 0 is NoneType"),
    ):
        pq.write_table(pa.table({**good, **change}), tmp_path / "t.parquet")
        with pytest.raises(ValueError, match=why):
            Parquet(path=str(tmp_path / "t.parquet")).load(None)
    with pytest.raises(ValueError, match="has the columns image, label; 'img' missing"):
        Parquet(path=str(tmp_path / "t.parquet"), image_column="img").load(None)
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match="is damaged or no Parquet"):
        Parquet(path=str(tmp_path / "t.parquet")).load(None)
    (tmp_path / "hollow").mkdir()
    with pytest.raises(ValueError, match="holds no train"):
        Parquet(path="hollow").load(tmp_path)


def test_settings_are_checked() -> None:
    for wrong in (
        {"path": "x"},
        {"path": "", "size": 32},
        {"path": "x", "size": 4},
        {"path": "x", "size": 32, "mode": "P"},
    ):
        with pytest.raises(SpecError):
            ImageFolder.parse(wrong)


def test_the_held_out_share_is_fixed_and_stratified() -> None:
    labels = torch.tensor([0] * 50 + [1] * 11 + [2] * 2)
    chosen = held_out_for_test(labels)
    assert labels[chosen].bincount().tolist() == [10, 2, 1]
    assert torch.equal(chosen, held_out_for_test(labels))
    assert not chosen[:10].all()  # drawn, not cut off
    assert TEST_SHARE == 0.2


def test_resizing_keeps_means_and_what_has_the_size() -> None:
    images = torch.from_numpy(IMAGES.transpose(0, 3, 1, 2).copy())
    assert resized(images, 9) is images
    flat = torch.full((1, 1, 20, 30), 77, dtype=torch.uint8)
    assert resized(flat, 8).eq(77).all()
    halves = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    halves[..., :4] = 200
    assert resized(halves, 4)[0, 0, 0, [0, 3]].tolist() == [200, 0]


def test_statistics_of_a_constant_channel_do_not_divide_by_zero() -> None:
    mean, std = channel_statistics(torch.full((2, 1, 3, 3), 51, dtype=torch.uint8))
    assert mean == pytest.approx([0.2])
    assert std == pytest.approx([1 / 255])


def test_a_label_far_out_of_range_makes_no_billion_classes(tmp_path: Path) -> None:
    labels = LABELS.copy()
    labels[7] = 10**9
    with pytest.raises(ValueError, match="image 7 holds label 1000000000; allowed: 0 to 11"):
        npz(tmp_path, images=IMAGES, labels=labels).load(None)
    pq.write_table(pa.table({"image": [encoded(i) for i in IMAGES], "label": labels}), tmp_path / "t.parquet")
    with pytest.raises(ValueError, match="holds label 1000000000 among 12 images"):
        Parquet(path=str(tmp_path / "t.parquet")).load(None)


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.9, 0.99])
def test_tables_that_were_cut_off_are_one_line(tmp_path: Path, cut: float) -> None:
    npz(tmp_path, images=IMAGES, labels=LABELS)
    pq.write_table(pa.table({"image": [encoded(i) for i in IMAGES], "label": LABELS}), tmp_path / "t.parquet")
    for name, data_set in (("t.npz", NPZ), ("t.parquet", Parquet)):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: int(cut * len(whole))])
        with pytest.raises(ValueError, match=f"{name} is damaged or no") as caught:
            data_set(path=name).load(tmp_path)
        assert "\n" not in str(caught.value)


def test_splits_of_rows(tmp_path: Path) -> None:
    def load(split: list[str | None]) -> tuple[int, int]:
        table = {"image": [encoded(i) for i in IMAGES], "label": LABELS, "split": split}
        pq.write_table(pa.table(table), tmp_path / "t.parquet")
        data = Parquet(path="t.parquet").load(tmp_path)
        return len(data.images), len(data.test_images)

    assert load(["train"] * 6 + ["validation"] * 3 + ["test"] * 3) == (6, 3)  # validation is for neither
    assert load(["train"] * 6 + ["validation"] * 6) == (6, 6)
    with pytest.raises(ValueError, match="has the split None; allowed: train, test, validation"):
        load(["train"] * 11 + [None])


def test_pictures_without_bytes_are_refused(tmp_path: Path) -> None:
    rows = [{"image": {"bytes": None, "path": "a.png"}, "label": 0}] * 2
    pq.write_table(pa.Table.from_pylist(rows, schema=HF), tmp_path / "t.parquet")
    with pytest.raises(ValueError, match="picture 0 is NoneType; allowed: the bytes of a picture file"):
        Parquet(path="t.parquet").load(tmp_path)
    pq.write_table(pa.table({"image": [{"url": "x"}] * 2, "label": [0, 1]}), tmp_path / "t.parquet")
    with pytest.raises(ValueError, match="picture 0 is NoneType"):
        Parquet(path="t.parquet").load(tmp_path)


def test_a_train_folder_alone_has_a_fifth_held_out(tmp_path: Path) -> None:
    folder(tmp_path / "train")
    data = ImageFolder(path=str(tmp_path), size=16).load(None)
    assert data.class_names == ("cat", "dog")
    assert (len(data.images), len(data.test_images)) == (8, 2)


def test_a_class_that_is_called_train_is_a_class(tmp_path: Path) -> None:
    folder(tmp_path, ("plane", "test", "train"))
    assert ImageFolder(path=str(tmp_path), size=16).load(None).class_names == ("plane", "test", "train")


def test_a_test_class_without_training_images_is_refused(tmp_path: Path) -> None:
    folder(tmp_path / "train")
    folder(tmp_path / "test", ("cat", "dog", "eel"))
    with pytest.raises(ValueError, match="test holds the class folder 'eel'; allowed: those of .*train: cat, dog"):
        ImageFolder(path=str(tmp_path), size=16).load(None)


def test_pictures_lie_at_any_depth_of_their_class(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "cat" / "deep" / "er").mkdir(parents=True)
    picture(99).save(tmp_path / "cat" / "deep" / "er" / "x.PNG")
    assert "11 pictures" in ImageFolder(path=str(tmp_path), size=16).load(None).card


def test_how_a_picture_is_kept_does_not_matter(tmp_path: Path) -> None:
    """Turned by the camera, of 3 x 3 pixels, with a palette or transparent: one picture."""
    image = Image.fromarray(np.arange(27, dtype=np.uint8).reshape(3, 3, 3) * 9)
    want = np.asarray(image)
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was turned: a quarter to the right makes it upright
    image.rotate(90).save(tmp_path / "turned.png", exif=turned)
    image.convert("RGBA").save(tmp_path / "rgba.png")
    image.quantize(9).save(tmp_path / "palette.png")
    for name in ("turned.png", "rgba.png", "palette.png"):
        assert (decoded(tmp_path / name) == want).all(), name
    hole = image.convert("RGBA")
    hole.putpixel((1, 2), (200, 200, 200, 0))
    hole.save(tmp_path / "hole.png")
    assert decoded(tmp_path / "hole.png")[2, 1].tolist() == [0, 0, 0]
    grey = Image.fromarray(want[..., 0].copy())
    grey.save(tmp_path / "grey.png")
    assert (decoded(tmp_path / "grey.png") == want[..., 0]).all()
    Image.fromarray(np.full((3, 3), 40_000, dtype=np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(ValueError, match="pixels are of type I;16; allowed: 8 bits a channel"):
        decoded(tmp_path / "deep.png")


def test_tiny_pictures_keep_rows_columns_and_channels(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(2):
            corner = picture(0, (3, 3), "L").convert("RGB")
            corner.putpixel((2, 0), (255, 0, 0))
            corner.save(tmp_path / name / f"{i}.png")
    data = ImageFolder(path=str(tmp_path), size=9).load(None)
    assert data.images[:, 0, 0, -1].tolist() == [255, 255]  # red, at the right of the first row
    assert data.images[:, 1:].eq(0).all() and data.images[:, 0, -1].eq(0).all()


@pytest.mark.parametrize("shape", [(40, 40, 3), (23, 23)])
def test_one_picture_is_resized_as_many_are(shape: tuple[int, ...]) -> None:
    pixels = RNG.integers(0, 256, shape).astype(np.uint8)
    many = torch.from_numpy(pixels).view(1, *shape[:2], -1).permute(0, 3, 1, 2).contiguous()
    assert torch.equal(square(pixels, shape[0]), many)
    assert (square(pixels, 9).int() - resized(many, 9).int()).abs().max() <= 1


def test_a_picture_is_read_or_refused_and_never_warned_of(tmp_path: Path) -> None:
    """Tests turn warnings into errors, and a command that ends in one line has no room for them."""
    path = tmp_path / "p.tiff"
    Image.fromarray(IMAGES[0]).save(path)
    whole = path.read_bytes()
    refused = 0
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        try:
            decoded(path)
        except ValueError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > len(whole) // 2


def test_a_locked_npz_is_one_line(tmp_path: Path) -> None:
    data_set = npz(tmp_path, images=IMAGES, labels=LABELS)
    content = bytearray((tmp_path / "t.npz").read_bytes())
    content[6] |= 1  # the flag of an encrypted member, in its own header and in the directory
    content[content.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "t.npz").write_bytes(content)
    with pytest.raises(ValueError, match="t.npz is damaged or no .npz of plain arrays .*encrypted"):
        data_set.load(None)
