"""`fashion_mnist` from small files in the real IDX format, plain and .gz, whole and broken."""

import gzip
import struct
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmark.data import fashion_mnist
from benchmark.data.fashion_mnist import DEBIAN_FOLDER, FILES, FashionMNIST


def idx(tensor: Tensor) -> bytes:
    """IDX: two zeros, type 8 (uint8), number of dimensions, sizes as big-endian uint32, then the bytes."""
    sizes = struct.pack(f">{tensor.ndim}I", *tensor.shape)
    return bytes([0, 0, 8, tensor.ndim]) + sizes + tensor.to(torch.uint8).numpy().tobytes()


def contents(num: int = 10) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (num + 4, 28, 28), generator=generator)
    labels = torch.randint(0, 10, (num + 4,), generator=generator)
    return dict(zip(FILES, (images[:num], labels[:num], images[num:], labels[num:]), strict=True))


def write(folder: Path, compress: bool = False) -> dict[str, Tensor]:
    folder.mkdir(parents=True, exist_ok=True)
    tensors = contents()
    for name, tensor in tensors.items():
        if compress:
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx(tensor)))
        else:
            (folder / name).write_bytes(idx(tensor))
    return tensors


@pytest.fixture(autouse=True)
def nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without Debian's package and without $BENCH_DATA."""
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", tmp_path / "debian")
    monkeypatch.delenv("BENCH_DATA", raising=False)
    return tmp_path / "debian"


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("subfolder", ["", "FashionMNIST/raw"])
def test_what_was_written_is_read(tmp_path: Path, compress: bool, subfolder: str) -> None:
    written = write(tmp_path / "root" / subfolder, compress)
    images = FashionMNIST().load(tmp_path / "root")
    got = (images.images, images.labels[:, None], images.test_images, images.test_labels[:, None])
    for tensor, name in zip(got, FILES, strict=True):
        assert torch.equal(tensor[:, 0].long(), written[name])
    assert images.images.dtype == torch.uint8
    assert images.labels.dtype == torch.int64


def test_the_root_comes_before_the_variable_and_that_before_debian(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nothing_installed: Path
) -> None:
    order = [tmp_path / "root", tmp_path / "variable", nothing_installed]
    monkeypatch.setenv("BENCH_DATA", str(order[1]))
    for folder in reversed(order):
        write(folder)
        labels = torch.full((10,), order.index(folder))
        (folder / FILES[1]).write_bytes(idx(labels))
        assert torch.equal(FashionMNIST().load(order[0]).labels, labels)


def test_missing_files_are_one_line_that_says_where_and_how(tmp_path: Path, nothing_installed: Path) -> None:
    write(tmp_path)
    (tmp_path / FILES[3]).unlink()
    start = time.perf_counter()
    with pytest.raises(ValueError, match="fashion_mnist: no folder holds") as caught:
        FashionMNIST().load(tmp_path)
    assert time.perf_counter() - start < 0.5
    message = str(caught.value)
    for part in (*FILES, str(tmp_path), str(nothing_installed), "apt-get install dataset-fashion-mnist", "--data-root"):
        assert part in message
    assert "\n" not in message


WHOLE = {name: idx(tensor) for name, tensor in contents().items()}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda whole: whole[:-1], "by its header"),
        (lambda whole: whole + b"\0", "by its header"),
        (lambda whole: whole[:3], "it begins with 00 00 08)"),
        (lambda whole: whole[:6], "by its header"),
        (lambda whole: b"", "it begins with nothing"),
        (lambda whole: b"\x89PNG" + whole, "it begins with 89 50 4e 47"),
        (lambda whole: bytes([0, 0, 13]) + whole[3:], "it begins with 00 00 0d"),
        (lambda whole: bytes([0, 0, 8, 2]) + whole[4:], "it begins with 00 00 08 02"),
    ],
)
@pytest.mark.parametrize("compress", [False, True])
def test_truncated_and_foreign_files_are_named(tmp_path: Path, name: str, change, why: str, compress: bool) -> None:
    write(tmp_path)
    broken = change(WHOLE[name])
    if compress:
        (tmp_path / name).unlink()
    file = tmp_path / (f"{name}.gz" if compress else name)
    file.write_bytes(gzip.compress(broken) if compress else broken)
    with pytest.raises(ValueError, match="is damaged or no IDX file") as caught:
        FashionMNIST().load(tmp_path)
    assert why in str(caught.value)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "broken",
    [b"no gzip", gzip.compress(WHOLE[FILES[0]], mtime=0)[:-9], gzip.compress(b"", mtime=0)[:5]],
    ids=["no gzip", "cut off near its end", "cut off in its head"],
)
def test_broken_gz_files_are_named(tmp_path: Path, broken: bytes) -> None:
    write(tmp_path, compress=True)
    (tmp_path / f"{FILES[0]}.gz").write_bytes(broken)
    with pytest.raises(ValueError, match=f"{FILES[0]}.gz is damaged or no IDX file"):
        FashionMNIST().load(tmp_path)


@pytest.mark.parametrize(
    ("name", "tensor", "why"),
    [
        (FILES[0], torch.zeros(9, 28, 28), r"shapes \(9, 28, 28\) and \(10,\)"),
        (FILES[2], torch.zeros(4, 32, 32), r"shapes \(4, 32, 32\) and \(4,\)"),
        (FILES[3], torch.full((4,), 10), "holds label 10; allowed: 0 to 9"),
    ],
)
def test_files_that_are_no_fashion_mnist_are_refused(tmp_path: Path, name: str, tensor: Tensor, why: str) -> None:
    write(tmp_path)
    (tmp_path / name).write_bytes(idx(tensor))
    with pytest.raises(ValueError, match=why):
        FashionMNIST().load(tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not DEBIAN_FOLDER.is_dir(), reason="no dataset-fashion-mnist package")
def test_debians_files_are_found_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", DEBIAN_FOLDER)
    images = FashionMNIST().load(None)
    assert images.images.shape == (60_000, 1, 28, 28)
    assert images.labels.bincount().tolist() == [6_000] * 10
    assert images.test_labels.bincount().tolist() == [1_000] * 10
    pixels = images.images.double() / 255
    assert round(float(pixels.mean()), 4) == images.mean[0]
    assert round(float(pixels.std()), 4) == images.std[0]


def test_class_names_are_torchvisions() -> None:
    from torchvision.datasets import FashionMNIST as TorchvisionFashionMNIST

    assert list(fashion_mnist.CLASS_NAMES) == TorchvisionFashionMNIST.classes
