"""Galleries that are alike but for membership, and galleries that are not."""

import torch

from benchmark.memorization.sides import NUM_SWAPS, compare_sides


def noise(num: int, seed: int) -> torch.Tensor:
    return torch.randn(num, 12, generator=torch.Generator().manual_seed(seed))


CLASSES = torch.arange(120) % 3


def test_alike_sides_are_seldom_told_apart() -> None:
    p_values = [
        compare_sides(noise(80, s), noise(60, s + 50), noise(60, s + 99), CLASSES, torch.Generator()).p_value
        for s in range(5)
    ]
    assert sum(p <= 0.05 for p in p_values) <= 1 and max(p_values) > 0.3


def test_sides_of_two_distributions_are_told_apart() -> None:
    shift = torch.zeros(12)
    shift[0] = 3.0
    near = compare_sides(noise(80, 1) + shift, noise(60, 2) + shift, noise(60, 3), CLASSES, torch.Generator())
    far = compare_sides(noise(80, 1) + shift, noise(60, 3), noise(60, 2) + shift, CLASSES, torch.Generator())
    assert near.in_rate > 0.8 and far.in_rate < 0.2
    assert near.p_value == far.p_value == 1 / (NUM_SWAPS + 1)


def test_a_case_by_hand() -> None:
    members, non_members = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    queries = torch.tensor([[2.0, 1.0], [3.0, 0.0], [0.0, 5.0], [1.0, 1.0]])  # in, in, out, tie
    found = compare_sides(queries, members, non_members, torch.tensor([0, 0]), torch.Generator())
    assert found.in_rate == 2.5 / 4
    assert found.p_value == 1.0, "the only other cut is as far from 0.5"
