"""Members that a user declares, and the pools cut for them; expected pools are worked out by hand."""

import pytest
import torch
from torch import Tensor

from benchmark.data.images import ImageData
from benchmark.data.members.declared import declared_pools
from benchmark.data.members.pools import PoolsSpec, make_pools


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
