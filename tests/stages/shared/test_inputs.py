"""Batches that are only looked at: halved where memory is short, with the same result."""

import pytest
import torch
from torch import Tensor

from benchmark.stages.shared.inputs import apply

CPU = torch.device("cpu")


class Small:
    """A network with memory for `most` images at once."""

    def __init__(self, most: int) -> None:
        self.most, self.sizes = most, list[int]()
        self.layer = torch.nn.Conv2d(3, 4, 3).eval()

    def __call__(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        if len(x) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return self.layer(x).flatten(1)


def test_a_batch_that_does_not_fit_is_halved() -> None:
    images = torch.rand(1203, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    small = Small(130)
    with torch.no_grad():
        whole = small.layer(images).flatten(1)
    torch.testing.assert_close(apply(small, images, CPU), whole)
    assert small.sizes == [500, 250, *[125] * 9, 78]


def test_batches_are_as_ever_where_memory_suffices() -> None:
    enough = Small(500)
    images = torch.zeros(1203, 3, 5, 5, dtype=torch.uint8)
    assert apply(enough, images, CPU).shape == (1203, 36)
    assert enough.sizes == [500, 500, 203]
    assert apply(enough, images[:0], CPU).shape == (0, 36)


def test_one_image_that_does_not_fit_is_an_error() -> None:
    none = Small(0)
    with pytest.raises(torch.OutOfMemoryError):
        apply(none, torch.rand(9, 3, 5, 5), CPU)
    assert none.sizes == [9, 4, 2, 1]
