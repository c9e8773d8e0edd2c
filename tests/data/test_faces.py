"""Face sets from what scikit-learn's fetchers and scikit-image keep on disk."""

import pickle
import sys
import time
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.data.faces import LFW, LFWSubset, Olivetti

RNG = np.random.default_rng(0)


def write_olivetti(folder: Path) -> np.ndarray:
    """As scikit-learn keeps it: 400 rows of 64 x 64 pixels, columns first, compressed by joblib."""
    faces = RNG.integers(0, 256, (400, 4096)).astype(np.uint8)
    joblib.dump(faces, folder / "olivetti_py3.pkz", compress=6)
    return faces


def test_olivetti_from_scikit_learns_cache(tmp_path: Path) -> None:
    faces = write_olivetti(tmp_path)
    data = Olivetti().load(tmp_path)
    assert data.images.shape == (320, 1, 64, 64)
    assert data.labels.bincount().tolist() == [8] * 40
    assert data.test_labels.bincount().tolist() == [2] * 40
    kept = torch.from_numpy(faces.reshape(400, 64, 64).transpose(0, 2, 1).copy())
    both = torch.cat([data.images, data.test_images])[:, 0]
    assert sorted(map(bytes, both.flatten(1).numpy())) == sorted(map(bytes, kept.flatten(1).numpy()))
    assert Olivetti(size=32).load(tmp_path).images.shape == (320, 1, 32, 32)


def test_a_broken_olivetti_cache_is_named(tmp_path: Path) -> None:
    write_olivetti(tmp_path)
    path = tmp_path / "olivetti_py3.pkz"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="olivetti_py3.pkz is damaged, or not what scikit-learn keeps") as caught:
        Olivetti().load(tmp_path)
    assert "\n" not in str(caught.value)


def write_lfw(folder: Path) -> None:
    home = folder / "lfw_home"
    for name, count in (("Ada_L", 5), ("Bob", 4), ("Cy", 2)):
        person = home / "lfw_funneled" / name
        person.mkdir(parents=True)
        for i in range(count):
            level = 20 * (i + 1) + 100 * (name == "Bob")
            Image.new("RGB", (250, 250), (level, level, level)).save(person / f"{name}_{i:04}.jpg", quality=100)
    for name in ("pairs.txt", "pairsDevTrain.txt", "pairsDevTest.txt"):
        (home / name).write_text("")


def test_lfw_from_scikit_learns_folder(tmp_path: Path) -> None:
    write_lfw(tmp_path)
    data = LFW(min_faces_per_person=4, size=16).load(tmp_path)
    assert data.class_names == ("Ada L", "Bob")
    assert data.images.shape == (7, 1, 16, 16)
    assert data.test_labels.bincount().tolist() == [1, 1]
    levels = torch.cat([data.images, data.test_images])[torch.cat([data.labels, data.test_labels]) == 1][:, 0, 3, 3]
    assert sorted(levels.tolist()) == pytest.approx([120, 140, 160, 180], abs=1)
    assert LFW(min_faces_per_person=4, size=16, color=True).load(tmp_path).images.shape == (7, 3, 16, 16)


def test_scikit_learn_reads_the_same_faces(tmp_path: Path) -> None:
    from sklearn.datasets import fetch_olivetti_faces

    faces = write_olivetti(tmp_path)
    faces[0, :2] = 0, 255  # the fetcher stretches what it finds to [0, 1]
    joblib.dump(faces, tmp_path / "olivetti_py3.pkz", compress=6)
    peer = fetch_olivetti_faces(data_home=tmp_path, download_if_missing=False)
    data = Olivetti().load(tmp_path)
    third = [image for image, label in zip(data.images[:, 0], data.labels, strict=True) if label == 2]
    published = torch.from_numpy(np.rint(peer.images[peer.target == 2] * 255)).to(torch.uint8)
    assert all((published == image).all((1, 2)).any() for image in third)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [np.float64, lambda x: (x / 255).astype(np.float32)])
def test_olivetti_as_floats(tmp_path: Path, scale) -> None:
    faces = write_olivetti(tmp_path)
    before = Olivetti().load(tmp_path)
    joblib.dump(scale(faces), tmp_path / "olivetti_py3.pkz", compress=6)
    assert Olivetti().load(tmp_path).fingerprint == before.fingerprint


class Hostile:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.victim,))


@pytest.mark.parametrize("hide", [lambda it: it, lambda it: np.array([it, 1], dtype=object), lambda it: {"faces": it}])
def test_a_hostile_cache_is_refused_and_does_nothing(tmp_path: Path, hide) -> None:
    victim = tmp_path / "touched"
    joblib.dump(hide(Hostile(victim)), tmp_path / "olivetti_py3.pkz", compress=6)
    with pytest.raises(ValueError, match="is damaged, or not what scikit-learn keeps .it (asks for|holds an array)"):
        Olivetti().load(tmp_path)
    assert not victim.exists()
    pickle.loads(pickle.dumps(Hostile(victim)))
    assert victim.exists()  # it would have


@pytest.mark.parametrize("content", [np.zeros((2, 4096), np.uint8), "text", [1, 2]])
def test_a_cache_of_something_else_is_refused(tmp_path: Path, content: object) -> None:
    joblib.dump(content, tmp_path / "olivetti_py3.pkz", compress=6)
    with pytest.raises(ValueError, match="olivetti_py3.pkz (holds an array of shape|is damaged)"):
        Olivetti().load(tmp_path)


def test_lfw_with_nobody_left_is_one_line(tmp_path: Path) -> None:
    write_lfw(tmp_path)
    with pytest.raises(ValueError, match="min_faces_per_person: 30 leaves 0 people; .* more than 5 pictures") as caught:
        LFW().load(tmp_path)
    assert "\n" not in str(caught.value)


def test_lfw_faces_are_the_fetchers_but_square(tmp_path: Path) -> None:
    from sklearn.datasets import fetch_lfw_people

    write_lfw(tmp_path)
    noise = Image.fromarray(RNG.integers(0, 256, (250, 250, 3)).astype(np.uint8))
    paths = sorted((tmp_path / "lfw_home" / "lfw_funneled").rglob("*.jpg"))
    for path in paths:
        noise.save(path, quality=100)
    peer = fetch_lfw_people(
        data_home=tmp_path, min_faces_per_person=4, color=True, resize=None, download_if_missing=False
    )
    data = LFW(min_faces_per_person=4, size=125, color=True).load(tmp_path)
    published = np.rint(peer.images[0] * (255 if peer.images.max() <= 1 else 1)).astype(np.uint8)
    assert torch.equal(data.images[0, :, :, 16:110], torch.from_numpy(published).permute(2, 0, 1))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:900]), "cannot be read"),
        (lambda path: Image.new("RGB", (64, 64)).save(path), "is of 64 x 64 pixels; allowed: 250 x 250"),
    ],
)
def test_a_broken_face_is_named(tmp_path: Path, change, why: str) -> None:
    write_lfw(tmp_path)
    change(tmp_path / "lfw_home" / "lfw_funneled" / "Bob" / "Bob_0002.jpg")
    with pytest.raises(ValueError, match=f"Bob_0002.jpg {why}"):
        LFW(min_faces_per_person=4).load(tmp_path)


@pytest.mark.parametrize(("data_set", "name"), [(Olivetti(), "olivetti_py3.pkz"), (LFW(), "lfw_home/lfw_funneled")])
def test_missing_faces_are_one_line(data_set: Olivetti | LFW, name: str, tmp_path: Path) -> None:
    start = time.perf_counter()
    with pytest.raises(ValueError, match="no folder holds") as caught:
        data_set.load(tmp_path)
    assert time.perf_counter() - start < 1
    for part in (name, str(tmp_path), "scikit_learn_data", "download: true", "sklearn.datasets.fetch_"):
        assert part in str(caught.value)


def test_the_faces_inside_scikit_image() -> None:
    data = LFWSubset().load(None)
    assert data.images.shape == (160, 1, 25, 25)
    assert data.labels.bincount().tolist() == [80, 80]
    assert data.test_labels.bincount().tolist() == [20, 20]
    from skimage.data import lfw_subset

    first_face = torch.from_numpy(np.rint(lfw_subset()[0] * 255)).to(torch.uint8)
    faces = torch.cat([data.images[data.labels == 1], data.test_images[data.test_labels == 1]])[:, 0]
    assert any(torch.equal(face, first_face) for face in faces)
    # Faces are brighter in the middle than at the rim, more than other cut-outs are.
    middle = data.images[:, 0, 8:17, 8:17].double().mean((1, 2)) - data.images[:, 0].double().mean((1, 2))
    assert middle[data.labels == 1].mean() > middle[data.labels == 0].mean() + 10


def test_without_scikit_image_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage.data", None)
    with pytest.raises(ValueError, match=r"pip install 'robust-or-private\[faces\]'"):
        LFWSubset().load(None)
