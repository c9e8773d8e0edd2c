"""Pools of fewer images: a stratified choice of the private ones, and what they cannot give is said before a run."""

import pytest
import torch
from test_pools import image_data, seeded

from benchmark.data.members import narrowed as narrow
from benchmark.data.members.narrowed import narrowed
from benchmark.data.members.pools import Pools, PoolsSpec, make_pools


def test_narrow_pools_are_stratified_and_without_near_duplicates() -> None:
    tensors = make_pools(image_data(), PoolsSpec(), seeded(0))
    private = tensors["private"]
    tensors["group"][private[1]] = tensors["group"][private[0]]
    found = narrowed(tensors, 12, seeded(1))
    chosen = found["private"]
    assert len(chosen) == 24 and torch.isin(chosen, private).all() and (chosen.diff() > 0).all()
    assert len(found["group"][chosen].unique()) == 24 and int(found["num_members"]) == 12
    halves = [Pools(found, "key").members(replica) for replica in (0, 1)]
    assert [len(half) for half in halves] == [12, 12] and torch.cat(halves).sort().values.tolist() == chosen.tolist()
    counts = [found["label"][half].bincount() for half in halves]
    assert torch.equal(*counts) and int(counts[0].max() - counts[0].min()) <= 1
    assert torch.equal(found["auxiliary"], tensors["auxiliary"]) and torch.equal(found["test"], tensors["test"])
    with pytest.raises(
        ValueError, match="num_members: 999 is not allowed; the private pool has .* in each half without"
    ):
        narrowed(tensors, 999, seeded(1))


@pytest.mark.parametrize("label", [0, 3])
def test_a_class_that_near_duplicates_leave_without_members_is_refused(label: int) -> None:
    """Each of its images is a near-duplicate of one of class 1, and of the two one is drawn: with some seeds none."""
    tensors = make_pools(image_data(num=16), PoolsSpec(), seeded(0))
    private = tensors["private"]
    of_class, others = private[tensors["label"][private] == label], private[tensors["label"][private] == 1]
    tensors["group"][of_class] = tensors["group"][others[: len(of_class)]]
    said = f"num_members: 3 is not allowed; class {label} would have no image"
    refused = 0
    for seed in range(20):
        try:
            found = narrowed(tensors, 3, seeded(seed))
        except ValueError as error:
            refused += str(error) == said
        else:
            assert (tensors["label"][found["private"]] == label).any()
    assert refused


def test_more_members_or_replicas_than_the_labels_allow_are_refused() -> None:
    data = image_data(num=16)  # of each class 3 private images, and so one in a half
    narrow.check(data, PoolsSpec(), 4, 2)
    with pytest.raises(ValueError, match="num_members: 5 is not allowed; the private pool of 12 images has 4 in each"):
        narrow.check(data, PoolsSpec(), 5, 2)
    with pytest.raises(ValueError, match="replicas: 18 is not allowed; the private pool has 16 halves"):
        narrow.check(data, PoolsSpec(), 4, 18)
