"""Cuts a data set into auxiliary, private and test pools, and the private pool into members and non-members."""

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Generator, Tensor

from benchmark.data.images import ImageData
from benchmark.data.members.duplicates import exact_repeats, near_duplicate_groups
from benchmark.data.members.stratified import cut, draw, proportional, split_pair
from benchmark.spec import Fraction, Spec
from benchmark.trials import trial

MOST_REPLICAS = 2048
"""Of one model; half of them may be replicas, and half shadow replicas, which are numbered after those."""
_MOST_CUTS = 100
"""Before a pair is given up: a class of few groups is on both sides of one cut in two, or in some."""
_SEEN = 64
"""Images of a class that are compared before a run; only where these are nearly all alike, the whole class is."""
_AT_ONCE = 1024
"""Images that are summed at a time."""
_ADVICE = "take them out of the data, or do not look for them (duplicate_cosine: null)"


class PoolsSpec(Spec):
    """How a data set is cut.

    auxiliary: share of the labelled training images that the attacker knows. num_members: training images of a
    replica; default: as many as there are, half of the private pool. num_test: test images, default all.
    num_classes: the first classes only, default all. duplicate_cosine: training images whose mean-centred pixels
    have a larger cosine are near-duplicates; null: none are looked for. On Fashion-MNIST nearly all pairs above the
    default show one garment twice or one cut in two prints: 0.6% of the images of `fashion_mnist_13k`, 2.0% of all.
    """

    auxiliary: Annotated[Fraction, Field(gt=0, lt=1)] = 0.25
    num_members: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    num_test: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    num_classes: Annotated[int, Field(ge=2, le=1_000_000)] | None = None
    duplicate_cosine: Annotated[Fraction, Field(gt=0, lt=1)] | None = 0.98


def check(data: ImageData, spec: PoolsSpec, num_replicas: int) -> None:
    """Raise ValueError if the data cannot give what is asked, counting labels only.

    Near-duplicates, which `make_pools` leaves out of the count, may leave a few images less.
    """
    num_classes = _num_classes(data, spec)
    test = data.test_labels.bincount(minlength=num_classes)[:num_classes]
    if spec.num_test is not None:
        if spec.num_test > int(test.sum()):
            raise ValueError(f"num_test: {spec.num_test} is not allowed; the data has {int(test.sum())} test images")
        proportional(spec.num_test, test, "num_test")
    auxiliary, private = class_counts(data, spec)
    _check_classes(spec, auxiliary, private)
    if spec.num_members is not None:
        check_num_members(spec.num_members, private)
        proportional(spec.num_members, private, "num_members")
    check_num_halves(num_replicas, private // 2)


def class_counts(data: ImageData, spec: PoolsSpec) -> tuple[Tensor, Tensor]:
    """Auxiliary and private images of each class, (K,) each, where no near-duplicate is left out."""
    counts = data.labels.bincount(minlength=_num_classes(data, spec))[: _num_classes(data, spec)]
    auxiliary = (counts * spec.auxiliary).round().long()
    return auxiliary, counts - auxiliary


def check_num_halves(num_replicas: int, halves: Tensor) -> None:
    """Raise ValueError for more replicas than halves: 2j and 2j + 1 are those of one cut, and every pair needs another.

    halves: (K,) images of each class in a half.
    """
    num_halves = math.prod(math.comb(2 * half, half) for half in halves.tolist())
    if num_replicas > num_halves:
        raise ValueError(f"replicas: {num_replicas} is not allowed; the private pool has {num_halves} halves")


def check_repeats(data: ImageData, spec: PoolsSpec) -> None:
    """Raise ValueError if training images that equal test images are so many that the rest gives no pools.

    As far as this can be seen without comparing all pairs: `make_pools`, which does that, leaves near-duplicates out.
    """
    if spec.duplicate_cosine is None:
        return
    num_classes = _num_classes(data, spec)
    _check_alike(data, spec.duplicate_cosine, num_classes)
    test = data.test_images[data.test_labels < num_classes]
    train = data.labels < num_classes
    repeats = exact_repeats(data.images, test) & train
    num_repeats = int(repeats.sum())
    if num_repeats:
        counts = data.labels[train & ~repeats].bincount(minlength=num_classes)
        auxiliary = (counts * spec.auxiliary).round().long()
        why = f"{num_repeats} of {int(train.sum())} training images repeat test images, which leaves"
        _check_different(why, auxiliary, counts - auxiliary)


def _check_alike(data: ImageData, duplicate_cosine: float, num_classes: int) -> None:
    """Raise ValueError for a class whose near-duplicates leave no auxiliary image and two halves, whatever the cut."""
    mean_image = _mean_image(data.images, data.labels < num_classes)
    for label in range(num_classes):
        ids = (data.labels == label).nonzero()[:, 0]
        some = ids[:: max(1, len(ids) // _SEEN)]
        if len(ids) and _num_groups(data, some, mean_image, duplicate_cosine) < 3:
            different = _num_groups(data, ids, mean_image, duplicate_cosine)
            if different < 3:
                raise ValueError(
                    f"pools: the {len(ids)} training images of class {label} are near-duplicates but for {different}; "
                    f"needed: 3 that differ, an auxiliary image and a member in each half; {_ADVICE}"
                )


def _mean_image(images: Tensor, chosen: Tensor) -> Tensor:
    """(C, H, W) float32, the mean of the chosen ones of images (N, C, H, W) uint8. chosen: (N,) bool.

    `make_pools` rounds otherwise, and holds them all as floats for it: too much for a machine that only plans.
    """
    total = torch.zeros(images.shape[1:], dtype=torch.int64)
    for some, kept in zip(images.split(_AT_ONCE), chosen.split(_AT_ONCE), strict=True):
        total += some[kept].sum(dim=0, dtype=torch.int64)
    return (total.double() / int(chosen.sum())).float()


def _num_groups(data: ImageData, ids: Tensor, mean_image: Tensor, duplicate_cosine: float) -> int:
    return len(near_duplicate_groups(data.images[ids], mean_image, duplicate_cosine).unique())


def make_pools(
    data: ImageData, spec: PoolsSpec, generator: Generator, device: torch.device | str = "cpu"
) -> dict[str, Tensor]:
    """Cut a data set, class by class, so that no near-duplicates are in two pools.

    Returns int64 tensors. "auxiliary", "private": ascending ids into the training images; "test": into the test
    images. "group", "label": (number of training images,), near-duplicates share a group. "num_members": (), 0 for
    as many as there are. Training images that are near-duplicates of test images are in no pool.
    device: that searches for near-duplicates. Raises ValueError if the data cannot give what is asked.
    """
    check(data, spec, num_replicas=1)
    num_classes = _num_classes(data, spec)
    train = (data.labels < num_classes).nonzero()[:, 0]
    test = (data.test_labels < num_classes).nonzero()[:, 0]
    group = torch.arange(len(data.labels))
    usable = train
    if spec.duplicate_cosine is not None:
        images, mean_image = data.images[train], data.images[train].float().mean(dim=0)
        both = torch.cat([images, data.test_images[test]])
        found = near_duplicate_groups(both, mean_image, spec.duplicate_cosine, device)
        own, of_test = found[: len(train)], found[len(train) :]
        group[train] = train[own]
        usable = train[~torch.isin(own, of_test)]
    num_alike = len(train) - len(usable)
    why = f"{num_alike} of {len(train)} training images are near-duplicates of test images, which leaves"
    why = why if num_alike else "near-duplicates among the training images leave"
    left = _different(data.labels[usable], group[usable], num_classes)
    _check_different(why, left.clamp(max=1), left - left.clamp(max=1))  # whatever the cut
    in_auxiliary = cut(data.labels[usable], group[usable], spec.auxiliary, generator)
    auxiliary, private = usable[in_auxiliary], usable[~in_auxiliary]
    _check_different(why, *(_different(data.labels[pool], group[pool], num_classes) for pool in (auxiliary, private)))
    if spec.num_members is not None:
        check_num_members(spec.num_members, data.labels[private].bincount(minlength=num_classes))
    if spec.num_test is not None:
        quotas = proportional(spec.num_test, data.test_labels[test].bincount(minlength=num_classes), "num_test")
        test = test[draw(data.test_labels[test], quotas, generator)]
    return {
        "auxiliary": auxiliary,
        "private": private,
        "test": test,
        "group": group,
        "label": data.labels,
        "num_members": torch.tensor(spec.num_members or 0),
    }


class Pools:
    """The pools of a trial, and the members and non-members of every replica.

    Replicas 2j and 2j + 1 train on the two halves of cut j of the private pool; each one's non-members are the
    other's members. Cut j depends on the key of the pools trial and on j alone. A model that was trained elsewhere
    is replica 0, with the members that were declared; its shadow models, from replica 2 on, have halves of its members
    and non-members together.
    """

    def __init__(self, tensors: dict[str, Tensor], key: str, labels: Tensor | None = None) -> None:
        """tensors: of `make_pools` or `declared_pools`. key: of the trial that made them. labels: of all ids, for the
        halves of declared pools, which may hold test images.
        """
        self.auxiliary, self.private, self.test = tensors["auxiliary"], tensors["private"], tensors["test"]
        self.group, self._key = tensors["group"], key
        self._label = tensors["label"] if labels is None else labels
        declared = "members" in tensors  # whose number is what the list gave, not the suite's
        self._num_members = None if declared else int(tensors["num_members"]) or None
        self._pairs: dict[int, tuple[Tensor, Tensor]] = {}
        self._declared = (tensors["members"], tensors["non_members"]) if "members" in tensors else None

    def members(self, replica: int) -> Tensor:
        """(M,) ascending ids of the training images that this replica is trained on."""
        return self._sides(replica)[replica % 2]

    def non_members(self, replica: int) -> Tensor:
        """(M,) ascending ids of as many images of the same classes that it never sees."""
        return self._sides(replica)[1 - replica % 2]

    def groups(self, ids: Tensor) -> Tensor:
        """Ids of any shape -> their groups of near-duplicates; a test image, whose id is higher, is its own."""
        known = ids < len(self.group)
        return torch.where(known, self.group[torch.where(known, ids, 0)], ids)

    def _sides(self, replica: int) -> tuple[Tensor, Tensor]:
        return self._declared if self._declared and replica < 2 else self._halves(replica // 2)

    def _halves(self, pair: int) -> tuple[Tensor, Tensor]:
        if pair not in self._pairs:
            generator = trial.generator(self._key, f"pair-{pair}")
            labels, groups = self._label[self.private], self.groups(self.private)
            for _ in range(_MOST_CUTS):  # whole groups may all fall on one side
                halves = split_pair(self.private, labels, groups, generator, self._num_members)
                missing = labels[~torch.isin(labels, self._label[halves[0]])]  # both have equally many of each class
                if not len(missing):
                    break
            else:
                raise ValueError(
                    f"pools: near-duplicates leave half a pair without images of class {int(missing.min())}; {_ADVICE}"
                )
            self._pairs[pair] = halves
        return self._pairs[pair]


def _num_classes(data: ImageData, spec: PoolsSpec) -> int:
    available = len(data.class_names)
    if spec.num_classes is not None and spec.num_classes > available:
        raise ValueError(f"num_classes: {spec.num_classes} is not allowed; the data has {available} classes")
    return spec.num_classes or available


def _check_classes(spec: PoolsSpec, auxiliary: Tensor, private: Tensor) -> None:
    """auxiliary, private: (K,) images of each class."""
    if int(auxiliary.min()) < 1 or int(private.min()) < 2:
        label = int(auxiliary.argmin() if int(auxiliary.min()) < 1 else private.argmin())
        raise ValueError(
            f"auxiliary: {spec.auxiliary} is not allowed; it leaves class {label} with {int(auxiliary[label])} "
            f"auxiliary and {int(private[label])} private images, and needs 1 and 2"
        )


def check_num_members(num_members: int, private: Tensor) -> None:
    """Raise ValueError if the private pool has fewer in a half. private: (K,) images of each class."""
    available = int((private // 2).sum())
    if num_members > available:
        raise ValueError(
            f"num_members: {num_members} is not allowed; the private pool of {int(private.sum())} images "
            f"has {available} in each half"
        )


def _check_different(why: str, auxiliary: Tensor, private: Tensor) -> None:
    """Raise ValueError if near-duplicates took too much. auxiliary, private: (K,) different images of each class."""
    short = ((auxiliary < 1) | (private < 2)).nonzero()[:, 0].tolist()
    if short:
        raise ValueError(
            f"pools: {why} class {short[0]} with {int(auxiliary[short[0]])} different auxiliary and "
            f"{int(private[short[0]])} private images; needed: 1 and 2; {_ADVICE}"
        )


def _different(labels: Tensor, groups: Tensor, num_classes: int) -> Tensor:
    """(K,) images of each class, those of one group counted once. labels, groups: (N,)."""
    codes: Tensor = torch.unique(groups * num_classes + labels)
    return (codes % num_classes).bincount(minlength=num_classes)
