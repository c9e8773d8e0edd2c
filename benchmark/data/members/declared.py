"""Members and non-members of a model that was trained elsewhere, from the list of members that its user declares."""

import torch
from torch import Generator, Tensor

from benchmark.data.images import ImageData
from benchmark.data.members.duplicates import near_duplicate_groups
from benchmark.data.members.stratified import draw, proportional

SMALLEST = 2
"""Images of a class in each gallery: with one, its mean and its nearest neighbor are the same image."""


def declared_pools(
    data: ImageData,
    pools: dict[str, Tensor],
    members: Tensor,
    duplicate_cosine: float | None,
    generator: Generator,
    device: torch.device | str = "cpu",
) -> dict[str, Tensor]:
    """The pools of a suite, cut again for a model with declared members.

    pools: of `make_pools`. members: (M,) ids of training images. duplicate_cosine: as in `PoolsSpec`. device: that
    searches for near-duplicates.

    IN are members from the private pool; auxiliary images never, since evaluators and whitening were fitted on them.
    OUT are private images that are no members and no near-duplicates of one; where a class has fewer of them than
    members, test images that are no near-duplicates of a training image fill up. Both sides have equally many of each
    class: as many as the smaller side has, and in all no more than the suite's `num_members`. The rest is drawn.

    Returns the tensors of `make_pools` with "private" as IN and OUT together, and "members" and "non_members",
    ascending ids in the one index space of `ImageData`. Raises ValueError, in one line, if a class has too few.
    """
    private, group = pools["private"], pools["group"]
    num_classes = int(data.labels[private].max()) + 1
    inside = private[torch.isin(private, members)]
    outside = private[~torch.isin(group[private], group[members])]
    sizes = [_per_class(data, ids, num_classes) for ids in (inside, outside)]
    test = torch.zeros(0, dtype=torch.int64)
    if bool((sizes[1] < sizes[0]).any()):
        test = data.test_ids(_unlike_training(data, num_classes, duplicate_cosine, device))
    of_test = _per_class(data, test, num_classes)
    quotas = torch.minimum(sizes[0], sizes[1] + of_test)
    _check_quotas(quotas, sizes[0], sizes[1], of_test)
    limit = int(pools["num_members"])
    if 0 < limit < int(quotas.sum()):
        quotas = proportional(limit, quotas, "num_members")
    known = torch.minimum(quotas, sizes[1])
    chosen = [
        ids[draw(data.classes(ids), quota, generator)]
        for ids, quota in ((inside, quotas), (outside, known), (test, quotas - known))
    ]
    out = torch.cat(chosen[1:]).sort().values
    whole = torch.cat([chosen[0], out]).sort().values
    return {**pools, "private": whole, "members": chosen[0], "non_members": out}


def _per_class(data: ImageData, ids: Tensor, num_classes: int) -> Tensor:
    return data.classes(ids).bincount(minlength=num_classes)


def _unlike_training(
    data: ImageData, num_classes: int, duplicate_cosine: float | None, device: torch.device | str
) -> Tensor:
    """Ascending places of the test images that are near-duplicates of no training image."""
    train = (data.labels < num_classes).nonzero()[:, 0]
    test = (data.test_labels < num_classes).nonzero()[:, 0]
    if duplicate_cosine is None:
        return test
    images, mean_image = data.images[train], data.images[train].float().mean(dim=0)
    found = near_duplicate_groups(torch.cat([images, data.test_images[test]]), mean_image, duplicate_cosine, device)
    return test[~torch.isin(found[len(train) :], found[: len(train)])]


def _check_quotas(quotas: Tensor, inside: Tensor, outside: Tensor, of_test: Tensor) -> None:
    if int(quotas.min()) < SMALLEST:
        label = int(quotas.argmin())
        raise ValueError(
            f"members: class {label} has {int(inside[label])} declared members in the private pool, and "
            f"{int(outside[label])} private and {int(of_test[label])} test images that are neither members nor "
            f"near-duplicates; needed: {SMALLEST} on each side"
        )
