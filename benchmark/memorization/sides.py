"""Tests whether members and non-members differ by more than membership, with images that are neither."""

from typing import NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn import functional

NUM_SWAPS = 200


class Sides(NamedTuple):
    """in_rate: of images that are on neither side; 0.5 if the sides are alike. p_value: how rare so far from 0.5 is."""

    in_rate: float
    p_value: float


def compare_sides(
    queries: Tensor, members: Tensor, non_members: Tensor, classes: Tensor, generator: Generator
) -> Sides:
    """The in_rate of images that are neither, held against random cuts of both galleries together.

    queries: (Q, D), members and non_members: (M, D), centred. classes: (2 M,) of members, then non-members; every cut
    keeps as many of each class on each side. The p-value is two-sided and at least 1 / (NUM_SWAPS + 1).
    """
    assert len(members) == len(non_members) == len(classes) // 2
    gallery = functional.normalize(torch.cat([members, non_members]))
    cosines = functional.normalize(queries) @ gallery.T
    inside = torch.arange(len(classes)) < len(members)
    found = _in_rate(cosines, inside)
    by_class = [(classes == c).nonzero()[:, 0] for c in classes.unique()]
    extreme = 0
    for _ in range(NUM_SWAPS):
        cut = torch.empty_like(inside)
        for own in by_class:
            cut[own] = inside[own][torch.randperm(len(own), generator=generator)]
        extreme += abs(_in_rate(cosines, cut) - 0.5) >= abs(found - 0.5) - 1e-12
    return Sides(found, (1 + extreme) / (1 + NUM_SWAPS))


def _in_rate(cosines: Tensor, inside: Tensor) -> float:
    s_in, s_out = cosines[:, inside].amax(1), cosines[:, ~inside].amax(1)
    return float(((s_in > s_out).double() + 0.5 * (s_in == s_out)).mean())
