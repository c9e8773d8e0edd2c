"""Members that a user declares, and the pools cut for them; expected pools are worked out by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmark.data.declared import declared_pools, read_members
from benchmark.data.images import ImageData
from benchmark.data.pools import PoolsSpec, make_pools


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def image_data(num: int = 80, num_test: int = 40, copies: dict[int, int] | None = None) -> ImageData:
    """Noise images of two classes in turn; copies: id -> id of the same class that it repeats, with a little noise."""
    pixels = torch.randint(0, 250, (num + num_test, 1, 8, 8), generator=seeded(0), dtype=torch.uint8)
    for copy, of in (copies or {}).items():
        pixels[copy] = pixels[of] + torch.randint(0, 3, (1, 8, 8), generator=seeded(copy), dtype=torch.uint8)
    labels = torch.arange(num + num_test) % 2
    return ImageData(
        images=pixels[:num],
        labels=labels[:num],
        test_images=pixels[num:],
        test_labels=labels[num:],
        class_names=("a", "b"),
        mean=(0.5,),
        std=(0.3,),
        card="noise",
    )


def declared(data: ImageData, members: Tensor, spec: PoolsSpec | None = None, seed: int = 2) -> dict[str, Tensor]:
    spec = spec or PoolsSpec(auxiliary=0.25)
    return declared_pools(data, make_pools(data, spec, seeded(1)), members, spec.duplicate_cosine, seeded(seed))


def test_private_images_that_are_no_members_come_first() -> None:
    data = image_data()
    suite = make_pools(data, PoolsSpec(auxiliary=0.25), seeded(1))
    private = suite["private"]
    few = private[::4]  # 15 of 60
    found = declared(data, torch.cat([few, suite["auxiliary"]]))
    assert torch.equal(found["members"], few), "auxiliary images are never IN"
    out = found["non_members"]
    assert torch.isin(out, private).all() and not torch.isin(out, few).any()
    assert data.classes(out).bincount().tolist() == data.labels[few].bincount().tolist()
    assert torch.equal(found["auxiliary"], suite["auxiliary"]) and torch.equal(found["test"], suite["test"])


def test_test_images_fill_up_what_is_missing() -> None:
    data = image_data()
    private = make_pools(data, PoolsSpec(auxiliary=0.25), seeded(1))["private"]
    most = private[:-10]  # 25 of each class; 5 of each are left over
    found = declared(data, torch.arange(80)[~torch.isin(torch.arange(80), private[-10:])])
    assert torch.equal(found["members"], most)
    out = found["non_members"]
    assert torch.equal(out[:10], private[-10:]) and bool((out[10:] >= 80).all())
    assert data.classes(out).bincount().tolist() == [25, 25]


def test_the_smaller_side_decides_and_the_larger_is_drawn() -> None:
    data = image_data(num_test=10)
    first, second = (declared(data, torch.arange(80), seed=seed) for seed in (2, 3))
    for found in (first, second):
        assert found["non_members"].tolist() == list(range(80, 90))
        assert data.classes(found["members"]).bincount().tolist() == [5, 5]
        assert torch.equal(found["private"], torch.cat([found["members"], found["non_members"]]).sort().values)
    assert not torch.equal(first["members"], second["members"])


def test_no_side_is_larger_than_that_of_a_trained_replica() -> None:
    data = image_data()
    found = declared(data, torch.arange(80), PoolsSpec(auxiliary=0.25, num_members=12))
    assert len(found["members"]) == len(found["non_members"]) == 12
    assert data.classes(found["non_members"]).bincount().tolist() == [6, 6]


def test_near_duplicates_of_members_are_not_out() -> None:
    # Of training images 0 and 1: training images 2 and 3. Test images 82 and 83 repeat each other alone.
    data = image_data(copies={2: 0, 3: 1, 83: 81, 84: 82})
    spec = PoolsSpec(auxiliary=0.25)
    suite = make_pools(data, spec, seeded(1))
    members = torch.arange(2, 80)
    out = declared(data, members)["non_members"]
    assert not torch.isin(out, torch.tensor([0, 1])).any(), "they show what the members 2 and 3 show"
    assert torch.isin(out, torch.arange(80, 120)).all() and len(out) > 0
    pair = torch.tensor([0, 2])
    assert bool(torch.isin(pair, suite["private"]).all() | torch.isin(pair, suite["auxiliary"]).all())


def test_test_images_that_repeat_a_training_image_are_not_out() -> None:
    data = image_data(num_test=10, copies={80: 10, 81: 11})
    assert declared(data, torch.arange(80))["non_members"].tolist() == list(range(82, 90))
    everything = declared(data, torch.arange(80), PoolsSpec(auxiliary=0.25, duplicate_cosine=None))
    assert everything["non_members"].tolist() == list(range(80, 90))


def test_too_few_of_a_class_is_one_line() -> None:
    data = image_data(num_test=4, copies={80: 10, 82: 12})  # both test images of class 0
    with pytest.raises(
        ValueError, match=r"members: class 0 has \d+ declared members in the private pool, and 0 private"
    ):
        declared(data, torch.arange(80))
    with pytest.raises(ValueError, match="members: class 1 has 0 declared members in the private pool, and") as error:
        declared(image_data(), torch.arange(0, 80, 4))
    assert "\n" not in str(error.value)


def test_lists_of_members_are_read_in_every_format(tmp_path: Path) -> None:
    ids = [7, 3, 11]
    (tmp_path / "a.txt").write_text("7\n 3 \n\n11\n")
    (tmp_path / "a.csv").write_text("index,label\n7,cat\n3,dog\n11,cat\n")
    (tmp_path / "b.csv").write_text("7\n3\n11")
    np.save(tmp_path / "a.npy", np.array(ids, dtype=np.int32))
    np.savez(tmp_path / "a.npz", np.array(ids, dtype=np.uint64))
    np.savez(tmp_path / "b.npz", labels=np.zeros(3), members=np.array(ids))
    for name in ("a.txt", "a.csv", "b.csv", "a.npy", "a.npz", "b.npz"):
        assert read_members(tmp_path / name, 12).tolist() == [3, 7, 11], name


WRONG = [
    ("text.txt", b"1\ntwo\n", "holds 'two' in line 2; allowed: an integer a line"),
    ("header.txt", b"index\n1\n", "holds 'index' in line 1"),
    ("real.csv", b"1.5\n2.5\n", "holds '2.5' in line 2"),
    ("empty.txt", b"\n", "lists no members; allowed: at least one"),
    ("negative.txt", b"-1\n", "lists -1, which is no training image; allowed: 0 to 11"),
    ("large.txt", b"1\n12\n", "lists 12, which is no training image; allowed: 0 to 11"),
    ("huge.txt", b"99999999999999999999\n", "holds '99999999999999999999' in line 1"),
    ("twice.txt", b"4\n5\n4\n", "lists 4 twice; allowed: each member once"),
    ("binary.txt", b"\xff\xfe\x00", "cannot be read"),
    ("broken.npy", b"\x93NUMPY\x01", "cannot be read"),
    ("broken.npz", b"PK\x03\x04", "cannot be read"),
    ("pickle.npy", b"cposix\nsystem\n(S'true'\ntR.", "cannot be read"),
    ("list.json", b"[1]", "is not a list of members; allowed: .txt, .csv, .npy, .npz"),
]


@pytest.mark.parametrize(("name", "content", "said"), WRONG, ids=[name for name, _, _ in WRONG])
def test_a_list_that_is_none_is_one_line(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError) as error:
        read_members(tmp_path / name, 12)
    assert said in str(error.value) and name in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("array", "said"),
    [(np.array([True, False]), "an array of bool"), (np.array([1.0]), "of float64"), (np.ones((2, 2), int), "(2, 2)")],
)
def test_an_array_that_is_no_list_is_one_line(tmp_path: Path, array: "np.ndarray", said: str) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ValueError) as error:
        read_members(tmp_path / "a.npy", 12)
    assert said in str(error.value) and "allowed: integers of shape (number of members,)" in str(error.value)
    np.savez(tmp_path / "a.npz", first=array, second=array)
    with pytest.raises(ValueError, match="it holds the arrays first, second; allowed: one array, or one named members"):
        read_members(tmp_path / "a.npz", 12)
