"""The data set inside the package, and the script that makes it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmark import data
from benchmark.data import embedded, make_embedded
from benchmark.data.embedded import FILE, FashionMNIST13k
from benchmark.data.fashion_mnist import DEBIAN_FOLDER, FILES, read
from benchmark.registry import parse


@pytest.fixture(scope="module")
def original() -> list[Tensor]:
    """Fashion-MNIST's four files, where Debian's package is installed."""
    if not DEBIAN_FOLDER.is_dir():
        pytest.skip("no dataset-fashion-mnist package")
    return read([DEBIAN_FOLDER / f"{name}.gz" for name in FILES])


def test_it_is_small_balanced_and_what_the_card_says() -> None:
    images = FashionMNIST13k().load(None)
    card = (FILE.parent / "CARD.md").read_text()
    assert FILE.stat().st_size < 8e6
    assert images.images.shape == (11_000, 1, 28, 28)
    assert images.test_images.shape == (2_000, 1, 28, 28)
    assert images.labels.bincount().tolist() == [1_100] * 10
    assert images.test_labels.bincount().tolist() == [200] * 10
    assert f"`{images.fingerprint}`" in card
    assert ", ".join(f"{i} {name}" for i, name in enumerate(images.class_names)) in " ".join(card.split())
    assert "Copyright (c) 2017 Zalando SE" in (FILE.parent / "LICENSE").read_text()


def test_its_pixels_have_about_the_published_moments() -> None:
    images = FashionMNIST13k().load(None)
    pixels = images.images.double() / 255
    assert abs(float(pixels.mean()) - images.mean[0]) < 0.005
    assert abs(float(pixels.std()) - images.std[0]) < 0.005


@pytest.mark.slow
def test_the_script_makes_the_shipped_file_again(
    original: list[Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make_embedded, "read", lambda paths: original)
    for name in ("a.npz", "b.npz"):
        make_embedded.write(DEBIAN_FOLDER, tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz") as made, np.load(FILE) as shipped:
        assert sorted(made) == sorted(shipped)
        for name in made:
            np.testing.assert_array_equal(made[name], shipped[name])
            assert made[name].dtype == shipped[name].dtype


def test_the_index_points_at_the_original_images(original: list[Tensor]) -> None:
    with np.load(FILE) as shipped:
        for split, (images, labels) in {"train": original[:2], "test": original[2:]}.items():
            index = shipped[f"{split}_index"]
            assert len(set(index.tolist())) == len(index)
            np.testing.assert_array_equal(images.numpy()[index], shipped[f"{split}_images"])
            np.testing.assert_array_equal(labels.numpy()[index], shipped[f"{split}_labels"])


def test_the_first_of_each_class_are_chosen() -> None:
    labels = torch.tensor([3, *range(10), *range(10), 3])
    chosen = make_embedded.first_of_each_class(labels, 2)
    assert chosen.tolist() == [0, *(1 + i for i in range(10)), *(11 + i for i in range(10) if i != 3)]
    with pytest.raises(ValueError, match="class 0 has 2 images; allowed: at least 3"):
        make_embedded.first_of_each_class(labels, 3)


def test_loading_is_cached_and_needs_no_root() -> None:
    spec = parse("data", "fashion_mnist_13k")
    assert data.load(spec, None) is data.load(parse("data", "fashion_mnist_13k"), None)


@pytest.mark.parametrize("damage", ["missing", "truncated", "foreign", "pickle"])
def test_a_damaged_file_is_one_clear_line(damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "fashion_mnist_13k.npz"
    if damage == "truncated":
        file.write_bytes(FILE.read_bytes()[:100_000])
    elif damage == "foreign":
        file.write_text("no archive")
    elif damage == "pickle":
        np.savez(file, train_images=np.array([{}], dtype=object))
    monkeypatch.setattr(embedded, "FILE", file)
    with pytest.raises(ValueError, match=r"\A.*missing or damaged.*; reinstall the package\Z") as caught:
        FashionMNIST13k().load(None)
    assert str(file) in str(caught.value)


def test_the_fingerprint_is_of_the_content() -> None:
    images = FashionMNIST13k().load(None)
    changed = images.labels.clone()
    changed[0] = (changed[0] + 1) % 10
    fields = {name: getattr(images, name) for name in images.__dataclass_fields__}
    assert data.ImageData(**fields).fingerprint == images.fingerprint
    assert data.ImageData(**{**fields, "labels": changed}).fingerprint != images.fingerprint
    swapped = {**fields, "images": images.images.transpose(2, 3)}
    assert data.ImageData(**swapped).fingerprint != images.fingerprint
