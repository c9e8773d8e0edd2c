"""CIFAR, SVHN, FER2013 and MNIST from small files in the formats in which they are published."""

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from data.test_fashion_mnist import write as write_idx

from benchmark.data import cifar
from benchmark.data.cifar import CIFAR10, CIFAR100
from benchmark.data.fer2013 import FER2013
from benchmark.data.images import Dataset
from benchmark.data.mnist import MNIST
from benchmark.data.svhn import SVHN

RNG = np.random.default_rng(0)


class Python2Pickler(pickle._Pickler):
    """Writes bytes as Python 2 wrote its strings, which is what the published batches hold."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_string(self, text: bytes) -> None:
        if len(text) < 256:
            self.write(pickle.SHORT_BINSTRING + bytes([len(text)]) + text)
        else:
            self.write(pickle.BINSTRING + len(text).to_bytes(4, "little") + text)
        self.memoize(text)

    dispatch[bytes] = save_string


def python2_pickle(value: object) -> bytes:
    buffer = io.BytesIO()
    Python2Pickler(buffer, protocol=2).dump(value)
    return buffer.getvalue()


def batch(num: int, labels_key: bytes, num_classes: int, first: int = 0) -> dict[bytes, object]:
    pixels = RNG.integers(0, 256, (num, 3072), dtype=np.uint8)
    labels = [(first + i) % num_classes for i in range(num)]
    return {b"data": pixels, labels_key: labels, b"batch_label": b"batch", b"filenames": [b"a.png"] * num}


def write_cifar10(folder: Path, change: dict[str, bytes] | None = None) -> dict[str, dict[bytes, object]]:
    folder.mkdir(parents=True)
    batches = {name: batch(10, b"labels", 10) for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]}
    names = [f"class {i}".encode() for i in range(10)]
    for name, content in {**batches, "batches.meta": {b"label_names": names}}.items():
        (folder / name).write_bytes((change or {}).get(name) or python2_pickle(content))
    return batches


def test_cifar10_batches_are_read_in_order(tmp_path: Path) -> None:
    batches = write_cifar10(tmp_path / "cifar-10-batches-py")
    data = CIFAR10().load(tmp_path)
    assert data.images.shape == (50, 3, 32, 32)
    assert data.class_names == tuple(f"class {i}" for i in range(10))
    pixels = np.concatenate([batches[f"data_batch_{i}"][b"data"] for i in range(1, 6)])
    # Image 13, red channel, row 1, column 2: planes of 1,024, rows of 32.
    assert data.images[13, 0, 1, 2] == pixels[13, 32 + 2]
    assert data.images[13, 2, 31, 31] == pixels[13, 3071]
    assert torch.equal(data.images.flatten(1), torch.from_numpy(pixels))
    assert data.labels.tolist() == [*range(10)] * 5
    assert torch.equal(data.test_images.flatten(1), torch.from_numpy(batches["test_batch"][b"data"]))


def test_torchvision_reads_the_same_from_the_same_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import datasets

    write_cifar10(tmp_path / "cifar-10-batches-py")
    monkeypatch.setattr(datasets.CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    peer = datasets.CIFAR10(tmp_path, train=True)
    data = CIFAR10().load(tmp_path)
    assert torch.equal(data.images.permute(0, 2, 3, 1), torch.from_numpy(peer.data))
    assert data.labels.tolist() == peer.targets


def test_cifar100_has_fine_labels(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    for name in ("train", "test"):
        content = batch(100, b"fine_labels", 100) | {b"coarse_labels": [0] * 100}
        (folder / name).write_bytes(python2_pickle(content))
    (folder / "meta").write_bytes(python2_pickle({b"fine_label_names": [f"f{i}".encode() for i in range(100)]}))
    data = CIFAR100().load(tmp_path)
    assert data.labels.tolist() == list(range(100))
    assert data.class_names[99] == "f99"


class Hostile:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.victim,))


def test_a_hostile_batch_is_refused_and_does_nothing(tmp_path: Path) -> None:
    victim = tmp_path / "touched"
    write_cifar10(tmp_path / "cifar-10-batches-py", {"data_batch_3": pickle.dumps(Hostile(victim), protocol=2)})
    with pytest.raises(ValueError, match="data_batch_3 is damaged or no CIFAR batch .it asks for"):
        CIFAR10().load(tmp_path)
    assert not victim.exists()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is damaged or no CIFAR batch"),
        (python2_pickle(batch(10, b"labels", 10))[:500], "is damaged or no CIFAR batch"),
        (python2_pickle([1, 2]), "holds a list, and no CIFAR batch"),
        (python2_pickle({b"data": np.zeros((2, 3072), np.uint8)}), "has no list b'labels'"),
        (python2_pickle({b"data": np.zeros((2, 99), np.uint8), b"labels": [0, 1]}), "no uint8 array"),
        (python2_pickle({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0]}), "one for each of 2 images"),
        (python2_pickle({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 10]}), "holds label 10; allowed: 0 to"),
    ],
)  # fmt: skip
def test_broken_batches_are_one_line_that_names_the_file(tmp_path: Path, content: bytes, why: str) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    write_cifar10(folder)
    (folder / "data_batch_2").write_bytes(content)
    with pytest.raises(ValueError, match=why) as caught:
        CIFAR10().load(tmp_path)
    assert str(folder / "data_batch_2") in str(caught.value)
    assert "\n" not in str(caught.value)


def write_svhn(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    pixels = RNG.integers(0, 256, (32, 32, 3, 12), dtype=np.uint8)
    digits = np.array([[1], [2], [3], [4], [5], [6], [7], [8], [9], [10], [10], [1]], dtype=np.uint8)
    for split in ("train", "test"):
        scipy.io.savemat(folder / f"{split}_32x32.mat", {"X": pixels, "y": digits})
    return pixels, digits


def test_svhn_has_images_last_and_calls_zero_ten(tmp_path: Path) -> None:
    pixels, _ = write_svhn(tmp_path)
    data = SVHN().load(tmp_path)
    assert data.labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0, 1]
    assert data.images[4, 2, 7, 9] == pixels[7, 9, 2, 4]


@pytest.mark.parametrize("content", [b"", b"MATLAB 5.0 MAT-file", b"\0" * 200])
def test_a_broken_svhn_file_is_named(tmp_path: Path, content: bytes) -> None:
    write_svhn(tmp_path)
    (tmp_path / "test_32x32.mat").write_bytes(content)
    with pytest.raises(ValueError, match=r"test_32x32.mat is damaged or no SVHN file") as caught:
        SVHN().load(tmp_path)
    assert "\n" not in str(caught.value)


FACES = RNG.integers(0, 256, (21, 48 * 48))
USAGES = ["Training"] * 7 + ["PublicTest"] * 7 + ["PrivateTest"] * 7


def write_fer(path: Path, header: str = "emotion,pixels,Usage") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    order = [name.strip().lower() for name in header.split(",")]
    lines = [header]
    for i, face in enumerate(FACES):
        cells = {"emotion": str(i % 7), "pixels": " ".join(map(str, face)), "usage": USAGES[i]}
        lines.append(",".join(cells[name] for name in order))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    ("name", "header"),
    [("fer2013.csv", "emotion,pixels,Usage"), ("icml_face_data.csv", "emotion, Usage, pixels")],
)
@pytest.mark.parametrize("folder", ["", "fer2013"])
def test_both_layouts_of_fer2013(tmp_path: Path, name: str, header: str, folder: str) -> None:
    write_fer(tmp_path / folder / name, header)
    data = FER2013().load(tmp_path)
    assert torch.equal(data.images.flatten(1), torch.from_numpy(FACES[:7]).to(torch.uint8))
    assert data.images.shape[1:] == (1, 48, 48)
    assert data.images[2, 0, 1, 3] == FACES[2, 48 + 3]
    assert len(data.test_images) == 14
    assert data.labels.tolist() == list(range(7))
    assert data.class_names[3] == "happy"


def test_fer2013_train_csv_alone_holds_a_fifth_out(tmp_path: Path) -> None:
    write_fer(tmp_path / "fer2013" / "train.csv", "emotion,pixels")
    data = FER2013().load(tmp_path)
    assert data.test_labels.bincount().tolist() == [1] * 7  # a fifth of 3, at least one
    assert data.labels.bincount().tolist() == [2] * 7


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("3,1 2 3,Training", "line 3 has 3 pixels"),
        (f"3,{'256 ' * 2304},Training", "line 3 has the pixel '256'; allowed: 2304 whole numbers from 0 to 255"),
        (f"3,{'x ' * 2304},Training", "line 3 has the pixel 'x'"),
        (f"3,{'1.5 ' * 2304},Training", "line 3 has the pixel '1.5'"),
        (f"3,{'-1 ' * 2304},Training", "line 3 has the pixel '-1'"),
        (f"3,{'1 ' * 2303}nan,Training", "line 3 has the pixel 'nan'"),
        (f"3,{'1 ' * 2304},Trainning", "line 3 has the Usage 'Trainning'; allowed: Training, PublicTest, PrivateTest"),
        (f"7,{'1 ' * 2304},Training", "line 3 has the emotion '7'; allowed: 0, 1, 2, 3, 4, 5, 6"),
        (f",{'1 ' * 2304},Training", "line 3 has the emotion ''; allowed: 0"),
        ("3,Training", "line 3 has 2 columns; allowed: 3"),
    ],
)
def test_broken_rows_of_fer2013_are_named(tmp_path: Path, line: str, why: str) -> None:
    path = write_fer(tmp_path / "fer2013.csv")
    lines = path.read_text().splitlines()
    lines[2] = line
    path.write_text("\n".join(lines))
    with pytest.raises(ValueError, match=why) as caught:
        FER2013().load(tmp_path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("line", ["", " , , ", ",,"])
@pytest.mark.parametrize("place", [0, 5, -1])
def test_empty_lines_of_fer2013_are_passed_over(tmp_path: Path, line: str, place: int) -> None:
    path = write_fer(tmp_path / "fer2013.csv")
    before = FER2013().load(tmp_path).fingerprint
    lines = path.read_text().splitlines()
    lines.insert(place if place >= 0 else len(lines), line)
    path.write_text("\n".join(lines) + "\n\n")
    assert FER2013().load(tmp_path).fingerprint == before


@pytest.mark.parametrize("no_label", ["-1", "", " -1"])
def test_a_test_part_of_fer2013_without_labels_gives_way_to_the_other(tmp_path: Path, no_label: str) -> None:
    path = write_fer(tmp_path / "fer2013.csv")
    rows = path.read_text().splitlines()

    def unlabel(usages: tuple[str, ...]) -> None:
        cells = [row.split(",") for row in rows]
        path.write_text("\n".join(",".join([no_label if c[-1] in usages else c[0], *c[1:]]) for c in cells))

    unlabel(("PrivateTest",))
    data = FER2013().load(tmp_path)
    assert (len(data.images), len(data.test_images)) == (7, 7) and data.card.endswith("; not read: PrivateTest")
    unlabel(("PrivateTest", "PublicTest"))
    with pytest.raises(ValueError, match=r"fer2013.csv has no emotion for 14 test images, the first in line \d+;"):
        FER2013().load(tmp_path)
    unlabel(("Training",))
    with pytest.raises(ValueError, match="has the emotion ' ?(-1)?'; allowed: 0, 1"):
        FER2013().load(tmp_path)


def test_one_test_image_of_fer2013_without_a_label_is_named(tmp_path: Path) -> None:
    path = write_fer(tmp_path / "fer2013.csv")
    lines = path.read_text().splitlines()
    place = next(i for i, line in enumerate(lines) if line.endswith("PublicTest"))
    lines[place] = "-1" + lines[place][1:]
    path.write_text("\n".join(lines))
    with pytest.raises(ValueError, match=f"no emotion for 1 test images, the first in line {place + 1}; allowed"):
        FER2013().load(tmp_path)


def test_a_csv_without_the_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fer2013.csv").write_text("pixels\n1 2 3\n")
    with pytest.raises(ValueError, match="has the columns pixels; emotion missing"):
        FER2013().load(tmp_path)


def test_mnist_lies_where_torchvision_puts_it(tmp_path: Path) -> None:
    written = write_idx(tmp_path / "MNIST" / "raw")
    data = MNIST().load(tmp_path)
    assert torch.equal(data.images[:, 0].long(), written["train-images-idx3-ubyte"])
    write_idx(tmp_path / "other")  # Fashion-MNIST's files have the same names: a bare folder could be either
    with pytest.raises(ValueError, match="mnist: no folder holds"):
        MNIST().load(tmp_path / "other")


@pytest.mark.parametrize(
    ("data_set", "names"),
    [
        (CIFAR10(), ("data_batch_1", "test_batch", "batches.meta", "cifar-10-python.tar.gz")),
        (CIFAR100(), ("train", "meta", "cifar-100-python.tar.gz")),
        (SVHN(), ("train_32x32.mat",)),
        (FER2013(), ("fer2013.csv", "icml_face_data.csv", "kaggle.com")),
        (MNIST(), ("train-images-idx3-ubyte",)),
    ],
)
def test_missing_files_are_one_line_that_says_which_where_and_how(
    data_set: Dataset, names: tuple[str, ...], tmp_path: Path, nobody_else_has_data: Path
) -> None:
    with pytest.raises(ValueError, match="no folder holds") as caught:
        data_set.load(tmp_path)
    message = str(caught.value)
    for part in (*names, str(tmp_path), str(nobody_else_has_data / "robust-or-private"), "--data-root"):
        assert part in message
    assert "\n" not in message


def test_one_pixel_changes_the_fingerprint(tmp_path: Path) -> None:
    batches = write_cifar10(tmp_path / "a" / "cifar-10-batches-py")
    before = CIFAR10().load(tmp_path / "a").fingerprint
    folder = tmp_path / "a" / "cifar-10-batches-py"
    content = batches["data_batch_5"]
    content[b"data"][9, 3071] ^= 1
    (folder / "data_batch_5").write_bytes(python2_pickle(content))
    assert CIFAR10().load(tmp_path / "a").fingerprint != before


@pytest.mark.parametrize("content", [{b"labels": [1]}, {b"label_names": []}, {b"label_names": [1, 2]}])
def test_class_names_that_are_none_are_refused(tmp_path: Path, content: object) -> None:
    write_cifar10(tmp_path / "cifar-10-batches-py", {"batches.meta": python2_pickle(content)})
    with pytest.raises(ValueError, match="batches.meta has no list b'label_names' of class names"):
        CIFAR10().load(tmp_path)


def test_batches_that_python_3_wrote_again_are_read_too(tmp_path: Path) -> None:
    batches = write_cifar10(tmp_path / "cifar-10-batches-py")
    content = pickle.dumps(batches["data_batch_1"], protocol=2)
    assert b"_codecs" in content
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(content)
    first = batches["data_batch_1"][b"data"]
    assert torch.equal(CIFAR10().load(tmp_path).images[:10].flatten(1), torch.from_numpy(first))


@pytest.mark.parametrize("seed", range(3))
def test_damaged_bytes_never_end_in_anything_but_one_line(tmp_path: Path, seed: int) -> None:
    """Hundreds of batches with a byte or two changed: each is read, or refused with its name."""
    small = batch(2, b"labels", 10)
    whole = python2_pickle(small)
    head = len(whole) - 6144  # changes in pixels only change pixels
    rng = np.random.default_rng(seed)
    path = tmp_path / "data_batch_1"
    for _ in range(300):
        content = bytearray(whole)
        for place in rng.integers(0, len(content), 2):
            content[place % head if rng.random() < 0.9 else place] = rng.integers(0, 256)
        path.write_bytes(content)
        try:
            cifar._batch("cifar10", path, b"labels", 10, "advice")
        except ValueError as error:
            assert str(path) in str(error) and "\n" not in str(error)


@pytest.mark.parametrize("cut", [0.05, 0.5, 0.9])
def test_an_svhn_file_that_was_cut_off_is_named(tmp_path: Path, cut: float) -> None:
    pixels, digits = write_svhn(tmp_path)
    path = tmp_path / "train_32x32.mat"
    scipy.io.savemat(path, {"X": pixels, "y": digits}, do_compression=True)
    SVHN().load(tmp_path)
    path.write_bytes(path.read_bytes()[: int(cut * path.stat().st_size)])
    with pytest.raises(ValueError, match="train_32x32.mat is damaged or no SVHN file") as caught:
        SVHN().load(tmp_path)
    assert "\n" not in str(caught.value)
