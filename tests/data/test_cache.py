"""Decoded data sets and fetched files that the workers of a machine share."""

import os
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from benchmark import data, registry
from benchmark.data import cache
from benchmark.data.images import Dataset, ImageData
from benchmark.running import doctor
from benchmark.running.send_data import send


def images(**changes: object) -> ImageData:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (20, 3, 8, 8), dtype=torch.uint8, generator=generator)
    labels = torch.arange(20) % 2
    made = ImageData(
        pixels, labels, pixels[:4].flip(3), labels[:4], ("eins", "zwei"), (0.1, 1 / 3, 0.3), (1.0,) * 3, "a"
    )
    return replace(made, **changes)  # type: ignore[arg-type]


class Slow(Dataset):
    """Counts how often it is read."""

    SOURCE = "test"
    num_read: ClassVar[int] = 0
    number: int = 0

    def load(self, root: Path | None) -> ImageData:
        type(self).num_read += 1
        return images()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registered: None) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(data, "_HELD", {})
    monkeypatch.setitem(registry.KINDS["data"], "slow", f"{Slow.__module__}:{Slow.__qualname__}")
    monkeypatch.setattr(Slow, "num_read", 0)
    data.load.cache_clear()
    return tmp_path / "robust-or-private"


def test_what_is_kept_reads_back_the_same() -> None:
    wanted = images()
    path = cache.keep(Slow(), wanted)
    found = cache.mapped(path, wanted.fingerprint)
    assert found is not None
    assert (found.class_names, found.mean, found.std, found.card) == (
        wanted.class_names,
        wanted.mean,
        wanted.std,
        wanted.card,
    )
    for name in ("images", "labels", "test_images", "test_labels"):
        assert torch.equal(getattr(found, name), getattr(wanted, name))
    content = path.read_bytes()
    path.unlink()
    assert cache.keep(Slow(), images()).read_bytes() == content, "equal data, equal bytes, one file in the store"


@pytest.mark.parametrize("old, new", [(b"0.1,", b"0.2,"), (b"zwei", b"drei"), (b"1.0]", b"2.0]"), (b"about", b"ab0ut")])
def test_a_damaged_normalisation_or_name_is_made_anew(old: bytes, new: bytes) -> None:
    """The fingerprint is of the images and labels alone."""
    path = cache.keep(Slow(), images())
    content = path.read_bytes()
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new))
    assert cache.mapped(path, images().fingerprint) is None and not path.exists()
    path.write_bytes(content.replace(old, new))
    assert cache.keep(Slow(), images()).read_bytes() == content, "nothing damaged is sent to other machines"


def test_settings_and_version_have_places_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The normalisation is no part of the fingerprint."""
    places = [cache.place(Slow(number=number), "a" * 64) for number in (0, 1, 0)]
    monkeypatch.setattr(Slow, "VERSION", 2)
    places.append(cache.place(Slow(), "a" * 64))
    assert len(set(places)) == 3 and places[0] == places[2]


def test_pages_are_mapped_and_not_read() -> None:
    """Two workers that hold it share its memory: it is a private mapping of the file."""
    path = cache.keep(Slow(), images())
    found = cache.mapped(path, images().fingerprint)
    assert found is not None and str(path) in Path("/proc/self/maps").read_text()


@pytest.mark.parametrize(
    "damage", [lambda c: c[:-1], lambda c: b"", lambda c: c[:-1] + bytes([c[-1] ^ 1]), lambda c: b"\x80\x04N."]
)
def test_a_damaged_file_goes(damage: "object") -> None:
    path = cache.keep(Slow(), images())
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    assert cache.mapped(path, images().fingerprint) is None and not path.exists()


@pytest.mark.parametrize(("read_s", "num_read"), [(1.9, 1), (2.1, 0)])
def test_workers_of_this_machine_need_not_decode_what_is_slow(read_s: float, num_read: int) -> None:
    assert send(None, Slow(), images(read_s=read_s), [("a" * 64, "nowhere")], joined=False) == ""  # type: ignore[arg-type]
    for _ in range(2):
        found = data.planned(Slow(), None, images().fingerprint)
        assert found.fingerprint == images().fingerprint
    assert Slow.num_read == num_read


def test_how_long_it_took_to_read_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([10.0, 13.5])
    monkeypatch.setattr("benchmark.data.time.monotonic", lambda: next(times))
    assert data.load(Slow(), None).read_s == 3.5


def test_what_comes_with_the_package_is_not_sent(folder: Path) -> None:
    kind = registry.parse("data", "fashion_mnist_13k")
    assert isinstance(kind, Dataset)
    assert send(None, kind, replace(images(), read_s=9.0), [], joined=True) == ""  # type: ignore[arg-type]
    assert not folder.exists()


def test_what_was_not_used_for_longest_goes(folder: Path) -> None:
    paths = []
    for index, name in enumerate(("old", "older", "new")):
        path = folder / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 100)
        os.utime(path, (1000 - 10 * (index == 1), 1000 - 10 * (index == 1)))
        paths.append(path)
    os.utime(paths[2], (2000, 2000))
    cache.prune(paths[2], limit=250)
    assert [path.exists() for path in paths] == [True, False, True]
    cache.prune(paths[2], limit=0)
    assert [path.exists() for path in paths] == [False, False, True], "not what was just put there"


def test_doctor_says_what_is_kept(folder: Path) -> None:
    path = cache.keep(Slow(), images())
    text = doctor._cache()
    assert "1 decoded or fetched files, at most 20 GiB" in text and str(folder) in text
    assert f"{path.stat().st_size / 2**20:.1f} MiB" in text
