"""Random choices and cuts of images that keep every class's share."""

import torch
from torch import Generator, Tensor


def cut(labels: Tensor, groups: Tensor, share: float, generator: Generator) -> Tensor:
    """A random cut in two, stratified by label, that leaves groups whole: (N,) bool, True on the first side.

    labels, groups: (N,). share: of each class on the first side, to the nearest image, as far as groups allow:
    each group of two or more falls on a side by chance, then single images fill up.
    """
    counts = groups.bincount()
    grouped = counts[groups] > 1
    coins = torch.rand(len(counts), generator=generator) < share
    first = coins[groups] & grouped
    num_classes = int(labels.max()) + 1
    wanted = (labels.bincount() * share).round().long() - labels[first].bincount(minlength=num_classes)
    singles = (~grouped).nonzero()[:, 0]
    available = labels[singles].bincount(minlength=num_classes)
    quotas = torch.minimum(wanted.clamp(min=0), available)
    first[singles[draw(labels[singles], quotas, generator)]] = True
    return first


def split_pair(
    private: Tensor, labels: Tensor, groups: Tensor, generator: Generator, num_members: int | None = None
) -> tuple[Tensor, Tensor]:
    """Two halves of the private pool: same size, same number of each class, groups whole on one side.

    private: (P,) ids. labels, groups: (P,), of those images. num_members: size of a half; default: as many as both
    can have. Images too many for that are in neither half. Returns ascending ids.
    Raises ValueError if groups leave too few.
    """
    first = cut(labels, groups, 0.5, generator)
    num_classes = int(labels.max()) + 1
    quotas = torch.minimum(
        labels[first].bincount(minlength=num_classes), labels[~first].bincount(minlength=num_classes)
    )
    if num_members is not None:
        if num_members > int(quotas.sum()):
            raise ValueError(
                f"num_members: {num_members} is not allowed; near-duplicates leave {int(quotas.sum())} in each half"
            )
        quotas = proportional(num_members, quotas, "num_members")
    halves = [private[side][draw(labels[side], quotas, generator)] for side in (first, ~first)]
    return halves[0].sort().values, halves[1].sort().values


def proportional(total: int, counts: Tensor, field: str) -> Tensor:
    """`total` split over classes in proportion to `counts`, (K,); largest remainders first. At least one a class."""
    exact = counts.double() * total / counts.sum()
    quotas = exact.floor().long()
    remainders = (exact - quotas).argsort(descending=True, stable=True)
    quotas[remainders[: total - int(quotas.sum())]] += 1
    if int(quotas.min()) == 0:
        raise ValueError(f"{field}: {total} is not allowed; class {int(quotas.argmin())} would have no image")
    return quotas


def draw(labels: Tensor, quotas: Tensor, generator: Generator) -> Tensor:
    """Ascending places in labels (N,) of a random choice of `quotas[c]` images of each class c."""
    order = torch.randperm(len(labels), generator=generator)
    return (
        torch.cat([order[labels[order] == label][:quota] for label, quota in enumerate(quotas.tolist())]).sort().values
    )
