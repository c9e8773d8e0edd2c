"""Pools of a model that is trained on fewer images than the others of its suite."""

import torch
from torch import Generator, Tensor

from benchmark.data.images import ImageData
from benchmark.data.members import pools
from benchmark.data.members.pools import PoolsSpec
from benchmark.data.members.stratified import draw, proportional


def check(data: ImageData, spec: PoolsSpec, num_members: int, num_replicas: int) -> None:
    """Raise ValueError if the private pool cannot give these pools, counting labels only."""
    _, private = pools.class_counts(data, spec)
    pools.check_num_members(num_members, private)
    pools.check_num_halves(num_replicas, proportional(num_members, private // 2, "num_members"))


def narrowed(whole: dict[str, Tensor], num_members: int, generator: Generator) -> dict[str, Tensor]:
    """The pools of `make_pools`, whole, with 2 num_members private images, a random choice without near-duplicates.

    Every class has an even number of them, so that a pair's halves are num_members images each. Raises ValueError if
    near-duplicates leave too few.
    """
    private = whole["private"]
    order = torch.randperm(len(private), generator=generator)
    _, place = torch.unique(whole["group"][private][order], return_inverse=True)
    first = torch.full((int(place.max()) + 1,), len(order)).scatter_reduce(0, place, torch.arange(len(order)), "amin")
    ids = private[order[first]]
    labels = whole["label"][ids]
    # Where near-duplicates of several classes are one group, a class may be left without any.
    available = labels.bincount(minlength=int(whole["label"][private].max()) + 1) // 2
    if num_members > int(available.sum()):
        left = f"the private pool has {int(available.sum())} in each half without near-duplicates"
        raise ValueError(f"num_members: {num_members} is not allowed; {left}")
    quotas = proportional(num_members, available, "num_members")
    chosen = ids[draw(labels, 2 * quotas, generator)].sort().values
    return {**whole, "private": chosen, "num_members": torch.tensor(num_members)}
