"""What the Square attack tries next: a square of the perturbation redrawn, in either norm."""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.evasion.norms import NormName, l2_norm

TILES = 5
"""The l2 search starts from so many bumps a side."""


@dataclass(frozen=True)
class Draws:
    """Random numbers for all images, on the CPU: they depend neither on the device nor on who has fallen.

    shape: (N, C, H, W), of all images.
    """

    shape: torch.Size
    generator: torch.Generator

    def corner(self, side: int) -> tuple[int, int]:
        """Of a square of this side that lies in the image, the same for all images."""
        _, _, height, width = self.shape
        row = torch.randint(height - side + 1, (), generator=self.generator)
        return int(row), int(torch.randint(width - side + 1, (), generator=self.generator))

    def coin(self) -> bool:
        return bool(torch.randint(2, (), generator=self.generator))

    def signs(self, ids: Tensor, height: int = 1, width: int = 1) -> Tensor:
        """-1 or 1 for each of the images `ids` and its channels, (n, C, height, width)."""
        drawn = torch.randint(2, (*self.shape[:2], height, width), generator=self.generator)
        return (2 * drawn - 1).to(ids.device)[ids].float()


@dataclass
class LinfSquares:
    """Every pixel of a perturbation is -epsilon or epsilon, cut to [0, 1].

    clean: (n, C, H, W), the images that still stand.
    """

    clean: Tensor
    epsilon: float

    def start(self, draws: Draws, ids: Tensor) -> Tensor:
        """Upright stripes, one pixel wide: convolutional networks are sensitive to them."""
        return (self.clean + self.epsilon * draws.signs(ids, width=self.clean.shape[3])).clamp(0, 1)

    def propose(self, x: Tensor, share: float, draws: Draws, ids: Tensor) -> Tensor:
        """The images x with one square filled with -epsilon or epsilon, a sign for each channel."""
        side = side_of(share, x)
        window = _window(*draws.corner(side), side)
        moved = x.clone()
        moved[window] = (self.clean[window] + self.epsilon * draws.signs(ids)).clamp_(0, 1)
        return moved


@dataclass
class L2Squares:
    """Moves the perturbation's mass from one square to a bump in another.

    clean: (n, C, H, W), the images that still stand.
    """

    clean: Tensor
    epsilon: float

    def start(self, draws: Draws, ids: Tensor) -> Tensor:
        """A grid of bumps that uses up epsilon."""
        _, _, height, width = self.clean.shape
        side = max(1, min(height, width) // TILES)
        delta = torch.zeros_like(self.clean)
        for row in range((height - height // side * side) // 2, height - side + 1, side):
            for column in range((width - width // side * side) // 2, width - side + 1, side):
                delta[_window(row, column, side)] = bump(side).to(delta) * draws.signs(ids)
        return (self.clean + delta * (self.epsilon / l2_norm(delta))).clamp_(0, 1)

    def propose(self, x: Tensor, share: float, draws: Draws, ids: Tensor) -> Tensor:
        """A bump is added to the direction of one square, which gets the length of both squares and what is unused.

        What clipping to [0, 1] took away is unused, and shared by the channels.
        """
        side = min(max(3, side_of(share, x) // 2 * 2 + 1), *x.shape[2:])
        (row, column), (other_row, other_column) = draws.corner(side), draws.corner(side)
        here, there = _window(row, column, side), _window(other_row, other_column, side)
        delta = x - self.clean
        unused = (self.epsilon**2 - delta.square().sum((1, 2, 3), keepdim=True)) / x.shape[1]
        outside = delta[here].square().sum((2, 3), keepdim=True)
        added = (bump(side).T if draws.coin() else bump(side)).to(delta) * draws.signs(ids)
        turned = _unit(added + _unit(delta[here]))
        delta[here] = 0
        length = (outside + delta[there].square().sum((2, 3), keepdim=True) + unused).clamp_min(0).sqrt()
        delta[there] = 0
        delta[here] = turned * length
        return delta.add_(self.clean).clamp_(0, 1)


SEARCHES: dict[NormName, type[LinfSquares | L2Squares]] = {"linf": LinfSquares, "l2": L2Squares}


def side_of(share: float, x: Tensor) -> int:
    """Of the square that has nearest this share of the pixels of x (N, C, H, W): at least 1, at most the image."""
    height, width = x.shape[2:]
    return max(1, min(round((share * height * width) ** 0.5), height, width))


@functools.cache
def bump(side: int) -> Tensor:
    """(side, side) of length 1: a hill beside a valley, each falling off from its middle (the paper's eta)."""
    left = side // 2
    both = torch.cat([_hill(side, left), -_hill(side, side - left)], 1)
    return both / both.norm()


def _hill(height: int, width: int) -> Tensor:
    """(height, width), height >= width: rings of equal value, each 1 / its number squared above the one outside it."""
    middle = height // 2
    rings = (1 / torch.arange(middle + 1, 0, -1).square()).cumsum(0)
    rows, columns = torch.arange(height) - middle, torch.arange(width) - width // 2
    return rings[middle - torch.maximum(rows.abs()[:, None], columns.abs())]


def _window(row: int, column: int, side: int) -> tuple[slice, slice, slice, slice]:
    return slice(None), slice(None), slice(row, row + side), slice(column, column + side)


def _unit(window: Tensor) -> Tensor:
    """Each channel of (N, C, h, w) at length 1; zeros stay zeros."""
    return window / torch.linalg.vector_norm(window, dim=(2, 3), keepdim=True).clamp_min(1e-12)
