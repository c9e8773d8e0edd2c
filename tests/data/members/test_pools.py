"""Pools: nobody is in two, near-duplicates stay together, halves match, replicas do not disturb each other."""

import math
import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from benchmark import registry
from benchmark.data import ImageData
from benchmark.data.embedded import FashionMNIST13k
from benchmark.data.members.pools import Pools, PoolsSpec, _mean_image, check, check_repeats, make_pools
from benchmark.data.members.stratified import cut, split_pair
from benchmark.spec import SpecError
from benchmark.stages.make_pools import MakePools
from benchmark.trials.trial import Settings, Trial, execute


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def image_data(num: int = 200, num_test: int = 40, num_classes: int = 4) -> ImageData:
    """Noise images of `num_classes` equal classes, none like another."""
    pixels = torch.randint(0, 256, (num + num_test, 1, 8, 8), generator=seeded(0), dtype=torch.uint8)
    labels = torch.arange(num + num_test) % num_classes
    return ImageData(
        images=pixels[:num],
        labels=labels[:num],
        test_images=pixels[num:],
        test_labels=labels[num:],
        class_names=tuple("abcdefgh"[:num_classes]),
        mean=(0.5,),
        std=(0.3,),
        card="noise",
    )


def pools(data: ImageData, key: str = "key", **fields: Any) -> Pools:
    return Pools(make_pools(data, PoolsSpec(**fields), seeded(1)), key)


@pytest.fixture(scope="module")
def real() -> tuple[ImageData, dict[str, Tensor]]:
    data = FashionMNIST13k().load(None)
    return data, make_pools(data, PoolsSpec(), seeded(0))


def test_pools_share_nothing_and_leave_out_only_what_is_like_a_test_image(
    real: tuple[ImageData, dict[str, Tensor]],
) -> None:
    data, tensors = real
    auxiliary, private, group = tensors["auxiliary"], tensors["private"], tensors["group"]
    assert len(set(auxiliary.tolist()) | set(private.tolist())) == len(auxiliary) + len(private)
    assert tensors["test"].tolist() == list(range(2_000))
    assert not torch.isin(group[auxiliary], group[private]).any()

    mean = data.images.float().mean(0)
    units, test_units = (
        torch.nn.functional.normalize((images - mean).flatten(1)) for images in (data.images, data.test_images)
    )
    used = torch.cat([auxiliary, private])
    assert float((units[used] @ test_units.T).max()) <= 0.98 + 1e-6
    assert float((units[auxiliary] @ units[private].T).max()) <= 0.98 + 1e-6
    left_out = set(range(11_000)) - set(used.tolist())
    assert len(left_out) == 12  # as in the data card


def test_real_halves_match_and_hold_no_near_duplicates_of_each_other(
    real: tuple[ImageData, dict[str, Tensor]],
) -> None:
    data, tensors = real
    cut_pools = Pools(tensors, "key")
    for replica in range(4):
        members, non_members = cut_pools.members(replica), cut_pools.non_members(replica)
        assert data.labels[members].bincount().tolist() == data.labels[non_members].bincount().tolist()
        assert len(members) > 0.99 * len(tensors["private"]) / 2
        assert not torch.isin(tensors["group"][members], tensors["group"][non_members]).any()
        assert torch.isin(torch.cat([members, non_members]), tensors["private"]).all()


def test_every_class_gives_its_share() -> None:
    data = image_data()
    tensors = make_pools(data, PoolsSpec(auxiliary=0.3, num_test=20), seeded(0))
    assert data.labels[tensors["auxiliary"]].bincount().tolist() == [15] * 4
    assert data.labels[tensors["private"]].bincount().tolist() == [35] * 4
    assert data.test_labels[tensors["test"]].bincount().tolist() == [5] * 4


def test_classes_and_members_can_be_fewer() -> None:
    data = image_data()
    fewer = pools(data, num_classes=3, num_members=31)
    for ids in (fewer.auxiliary, fewer.private, fewer.members(0), fewer.non_members(0)):
        assert sorted(data.labels[ids].unique().tolist()) == [0, 1, 2]
    counts = data.labels[fewer.members(0)].bincount()
    assert sorted(counts.tolist()) == [10, 10, 11]
    assert counts.tolist() == data.labels[fewer.non_members(0)].bincount().tolist()
    assert fewer.test.tolist() == (data.test_labels < 3).nonzero()[:, 0].tolist()


def test_partners_swap_their_halves() -> None:
    some = pools(image_data())
    for pair in range(3):
        assert torch.equal(some.members(2 * pair), some.non_members(2 * pair + 1))
        assert torch.equal(some.non_members(2 * pair), some.members(2 * pair + 1))
        assert not torch.isin(some.members(2 * pair), some.members(2 * pair + 1)).any()


def test_a_replica_depends_on_the_key_and_its_number_alone() -> None:
    tensors = make_pools(image_data(), PoolsSpec(), seeded(0))
    alone = Pools(tensors, "key").members(5)
    together = [Pools(tensors, "key").members(replica) for replica in range(6)]
    assert torch.equal(alone, together[5])
    assert not torch.equal(together[0], together[2])
    assert not torch.equal(alone, Pools(tensors, "other key").members(5))


def test_each_private_image_is_in_for_half_the_replicas() -> None:
    some = pools(image_data(800, 8), auxiliary=0.5)
    times_in = torch.zeros(800)
    for replica in range(0, 128, 2):
        times_in[some.members(replica)] += 1
    counts = times_in[some.private]
    # Binomial(64, 1/2): mean 32, standard deviation 4; 400 draws stay within 5 of them.
    assert abs(float(counts.mean()) - 32) < 1e-6
    assert 12 <= float(counts.min())
    assert float(counts.max()) <= 52
    assert 3 < float(counts.std()) < 5


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_halves_match_whatever_the_groups(data: st.DataObject) -> None:
    num = data.draw(st.integers(4, 80))
    labels = torch.tensor([0, 0, 1, 1] + data.draw(st.lists(st.integers(0, 1), min_size=num - 4, max_size=num - 4)))
    groups = torch.tensor(data.draw(st.lists(st.integers(0, num), min_size=num, max_size=num)))
    ids = 3 * torch.arange(num) + 1
    first, second = split_pair(ids, labels, groups, seeded(data.draw(st.integers(0, 99))))
    chosen = [(half - 1) // 3 for half in (first, second)]
    assert torch.isin(torch.cat([first, second]), ids).all()
    assert len(set(first.tolist())) == len(first) == len(second)
    assert labels[chosen[0]].bincount().tolist() == labels[chosen[1]].bincount().tolist()
    assert not torch.isin(groups[chosen[0]], groups[chosen[1]]).any()


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 99), st.floats(0.05, 0.95), st.integers(0, 30))
@example(seed=0, share=0.7, num_pairs=1)  # half an image of one class is left
def test_a_cut_is_exact_where_single_images_can_even_it_out(seed: int, share: float, num_pairs: int) -> None:
    labels = torch.randint(0, 3, (1_000,), generator=seeded(seed))
    groups = torch.arange(1_000)
    groups[1 : 2 * num_pairs : 2] = groups[: 2 * num_pairs : 2]
    first = cut(labels, groups, share, seeded(seed))
    twins = first[: 2 * num_pairs].view(-1, 2)
    assert torch.equal(twins[:, 0], twins[:, 1])
    if num_pairs == 0:
        expected = [round(count * share) for count in labels.bincount().tolist()]
        assert labels[first].bincount(minlength=3).tolist() == pytest.approx(expected, abs=1)
    if num_pairs and 0.2 < share < 0.8:  # 60 of 1,000 images cannot outweigh the other side's share
        wanted = labels.bincount() * share
        assert ((labels[first].bincount() - wanted).abs() <= 0.5 + 1e-4).all(), "the nearest number of images"


def test_planted_duplicates_stay_together_in_every_pair() -> None:
    data = image_data()
    copies = data.images.clone()
    copies[100:150] = copies[:50]
    data = ImageData(**{**{n: getattr(data, n) for n in data.__dataclass_fields__}, "images": copies})
    tensors = make_pools(data, PoolsSpec(), seeded(0))
    assert torch.equal(tensors["group"][100:150], torch.arange(50))
    blind = make_pools(data, PoolsSpec(duplicate_cosine=None), seeded(0))
    assert blind["group"].tolist() == list(range(200))

    def torn(made: dict[str, Tensor]) -> int:
        side = torch.full((200,), -1)
        for number, ids in enumerate((made["auxiliary"], *(Pools(made, "k").members(r) for r in (0, 1)))):
            side[ids] = number
        a, b = side[:50], side[100:150]
        return int(((a != b) & (a >= 0) & (b >= 0)).sum())

    assert torn(tensors) == 0
    assert torn(blind) > 10


def test_training_images_like_a_test_image_are_in_no_pool() -> None:
    data = image_data()
    test_images = data.test_images.clone()
    test_images[:5] = data.images[[3, 30, 60, 90, 120]]
    data = ImageData(**{**{n: getattr(data, n) for n in data.__dataclass_fields__}, "test_images": test_images})
    tensors = make_pools(data, PoolsSpec(), seeded(0))
    used = set(tensors["auxiliary"].tolist() + tensors["private"].tolist())
    assert set(range(200)) - used == {3, 30, 60, 90, 120}


@pytest.mark.parametrize(
    ("fields", "num_replicas", "message"),
    [
        ({"num_classes": 5}, 2, "num_classes: 5 is not allowed; the data has 4 classes"),
        ({"num_test": 41}, 2, "num_test: 41 is not allowed; the data has 40 test images"),
        ({"num_test": 3}, 2, "num_test: 3 is not allowed; class 3 would have no image"),
        ({"num_members": 77}, 2, "num_members: 77 is not allowed; the private pool of 152 images has 76 in each half"),
        ({"num_members": 3}, 2, "num_members: 3 is not allowed; class 3 would have no image"),
        ({"auxiliary": 0.999}, 2, "it leaves class 0 with 50 auxiliary and 0 private images, and needs 1 and 2"),
        ({"auxiliary": 0.001}, 2, "it leaves class 0 with 0 auxiliary and 50 private images"),
        ({"auxiliary": 0.96}, 17, "replicas: 17 is not allowed; the private pool has 16 halves"),
    ],
)
def test_more_than_the_data_allows_is_refused(fields: dict[str, Any], num_replicas: int, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        check(image_data(), PoolsSpec(**fields), num_replicas)


def test_what_the_data_just_allows_is_done() -> None:
    data = image_data()
    check(data, PoolsSpec(auxiliary=0.96), 16)
    assert math.comb(2, 1) ** 4 == 16
    check(data, PoolsSpec(num_members=76, num_test=40, num_classes=4), 1_000)
    assert len(pools(data, num_members=76).members(3)) == 76


def test_make_pools_refuses_what_near_duplicates_take_away() -> None:
    data = image_data()
    test_images = torch.cat([data.images[:20], data.test_images[20:]])
    data = ImageData(**{**{n: getattr(data, n) for n in data.__dataclass_fields__}, "test_images": test_images})
    check(data, PoolsSpec(num_members=76), 2)
    with pytest.raises(ValueError, match="num_members: 76 is not allowed; the private pool of"):
        make_pools(data, PoolsSpec(num_members=76), seeded(0))


def with_images(data: ImageData, images: Tensor, test_images: Tensor) -> ImageData:
    return replace(data, images=images, test_images=test_images)


def test_test_images_that_are_the_training_images_are_refused_before_any_trial() -> None:
    data = image_data(num=40, num_test=40)
    data = with_images(data, data.images, data.images)
    check(data, PoolsSpec(), 2)  # labels alone say nothing
    said = re.escape(
        "pools: 40 of 40 training images repeat test images, which leaves class 0 with 0 different auxiliary and 0 "
        "private images; needed: 1 and 2; take them out of the data, or do not look for them (duplicate_cosine: null)"
    )
    with pytest.raises(ValueError, match=said):
        check_repeats(data, PoolsSpec())
    with pytest.raises(ValueError, match="^pools: 40 of 40 training images are near-duplicates of test images, which"):
        make_pools(data, PoolsSpec(), seeded(0))
    check_repeats(data, PoolsSpec(duplicate_cosine=None))
    assert len(make_pools(data, PoolsSpec(duplicate_cosine=None), seeded(0))["private"]) == 32


def test_repeats_that_eat_one_class_are_counted() -> None:
    data = image_data(num=40, num_test=40)
    test_images = torch.where((data.test_labels == 2)[:, None, None, None], data.images, data.test_images)
    data = with_images(data, data.images, test_images)
    with pytest.raises(ValueError, match="10 of 40 training images repeat test images, which leaves class 2 with"):
        check_repeats(data, PoolsSpec())
    check_repeats(data, PoolsSpec(num_classes=2))  # of other classes
    with pytest.raises(ValueError, match="pools: 10 of 40 training images are near-duplicates of test .* class 2 with"):
        make_pools(data, PoolsSpec(), seeded(0))


def test_a_few_repeats_are_left_out_and_no_reason_to_stop() -> None:
    data = image_data()
    data = with_images(data, data.images, torch.cat([data.images[:4], data.test_images[4:]]))
    check_repeats(data, PoolsSpec())
    assert len(make_pools(data, PoolsSpec(), seeded(0))["auxiliary"]) == 48


@pytest.mark.parametrize("seed", range(4))
def test_a_class_of_near_duplicates_is_named_whatever_pool_it_falls_into(seed: int) -> None:
    data = image_data(num=80)
    alike = (data.labels == 1)[:, None, None, None]
    noise = torch.randint(0, 3, data.images.shape, generator=seeded(5), dtype=torch.uint8)
    images = torch.where(alike, data.images[1].clamp(max=250) + noise, data.images)
    data = with_images(data, images, data.test_images)
    with pytest.raises(
        ValueError, match="^pools: the .* of class 1 are near-duplicates but for 1; needed: 3 that differ"
    ):
        check_repeats(data, PoolsSpec())  # before anything runs
    with pytest.raises(ValueError, match="^pools: near-duplicates among the training images leave class 1 ") as error:
        make_pools(data, PoolsSpec(), seeded(seed))
    assert "auxiliary: 0.25" not in str(error.value)


def test_a_half_without_a_class_is_refused() -> None:
    tensors = make_pools(image_data(), PoolsSpec(), seeded(0))
    private = tensors["private"]
    of_class = private[tensors["label"][private] == 3]
    tensors["group"][of_class] = of_class[0]
    with pytest.raises(ValueError, match="pools: near-duplicates leave half a pair without images of class 3; take"):
        Pools(tensors, "key").members(0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"auxiliary": 0}, "pools.auxiliary: 0 is not allowed"),
        ({"auxiliary": "5/4"}, "pools.auxiliary: '5/4' is not allowed"),
        ({"num_members": -3}, "pools.num_members: -3 is not allowed"),
        ({"num_test": 0}, "pools.num_test: 0 is not allowed"),
        ({"num_classes": 1}, "pools.num_classes: 1 is not allowed"),
        ({"duplicate_cosine": "high"}, "pools.duplicate_cosine: 'high' is neither a number nor a fraction"),
        ({"members": 3}, "unknown key 'members' (did you mean 'num_members'?)"),
    ],
)
def test_bad_settings_name_the_key_and_the_value(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(message)):
        PoolsSpec.parse(fields, ("pools",))


def stage(fingerprint: str) -> Trial:
    spec = registry.parse(
        "stage", {"method": "pools", "data": "fashion_mnist_13k", "fingerprint": fingerprint, "pools": {}}
    )
    assert isinstance(spec, MakePools)
    return Trial(stage=registry.dump("stage", spec), seed=0)


@pytest.mark.slow
def test_the_stage_writes_the_pools(real: tuple[ImageData, dict[str, Tensor]]) -> None:
    data, _ = real
    trial = stage(data.fingerprint)
    outcome = execute(trial, None, Settings(results="unused"))  # type: ignore[arg-type]
    values = {row["metric"]: row["value"] for row in outcome.rows}
    assert values["num_auxiliary"] + values["num_private"] == 11_000 - 12
    assert values["num_test"] == 2_000
    assert values["duplicate_share"] == pytest.approx(0.005, abs=0.001)
    again = execute(trial, None, Settings(results="unused"))  # type: ignore[arg-type]
    for name, tensor in outcome.tensors.items():
        assert torch.equal(tensor, again.tensors[name])


def test_the_stage_refuses_other_content() -> None:
    with pytest.raises(ValueError, match="data: this machine's copy has fingerprint 5035cc1a34b7; allowed: 0000"):
        execute(stage("0" * 64), None, Settings(results="unused"))  # type: ignore[arg-type]


def test_whole_groups_are_drawn_anew_until_both_halves_have_each_class() -> None:
    """Two groups of a class fall on one side of every second cut; no pair of replicas may lose the class by that."""
    tensors = make_pools(image_data(), PoolsSpec(), seeded(0))
    private = tensors["private"]
    of_class = private[tensors["label"][private] == 3]
    half = len(of_class) // 2
    tensors["group"][of_class[:half]], tensors["group"][of_class[half:]] = of_class[0], of_class[half]
    for pair in range(8):
        halves = [Pools(tensors, "key").members(2 * pair + side) for side in (0, 1)]
        assert all((tensors["label"][half] == 3).any() for half in halves)


def test_a_checkpoints_shadow_models_have_halves_of_its_images() -> None:
    tensors = make_pools(image_data(), PoolsSpec(), seeded(0))
    private = tensors["private"]
    declared = {**tensors, "members": private[::2], "non_members": private[1::2]}
    declared["num_members"] = torch.tensor(len(private))  # the suite asks for more than the list has
    pools = Pools(declared, "key")
    assert torch.equal(pools.members(0), private[::2]) and torch.equal(pools.non_members(0), private[1::2])
    shadows = [pools.members(replica) for replica in (2, 3)]
    assert torch.equal(pools.non_members(2), shadows[1]) and not torch.isin(*shadows).any()
    assert torch.isin(torch.cat(shadows), private).all() and torch.isin(shadows[0], private[::2]).any()
    assert torch.isin(shadows[0], private[1::2]).any() and not torch.equal(shadows[0], pools.members(4))


def test_a_test_image_is_a_group_of_its_own() -> None:
    pools = Pools(make_pools(image_data(), PoolsSpec(), seeded(0)), "key")
    beyond = len(pools.group) + 3
    assert pools.groups(torch.tensor([0, beyond])).tolist() == [int(pools.group[0]), beyond]


def test_the_mean_image_is_that_of_the_chosen_images_across_chunks() -> None:
    data = image_data(num=2_100, num_test=4)
    chosen = data.labels < 3
    expected = data.images.numpy()[chosen.numpy()].astype("float64").mean(0)
    assert torch.allclose(_mean_image(data.images, chosen).double(), torch.from_numpy(expected), rtol=1e-7)
