"""What the Square attack tries next: a square of the perturbation redrawn, in either norm."""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.evasion.norms import NormName, l2_norm
from benchmark.machine.copies import sent

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

    def signs(self, width: int = 1) -> Tensor:
        """-1 or 1 for each image and channel, (N, C, 1, width)."""
        drawn = torch.randint(2, (*self.shape[:2], 1, width), generator=self.generator)
        return (2 * drawn - 1).float()


class LinfSquares:
    """Every pixel of a perturbation is -epsilon or epsilon, cut to [0, 1]."""

    def __init__(self, draws: Draws, epsilon: float) -> None:
        self.draws, self.epsilon = draws, epsilon

    def start(self, clean: Tensor) -> Tensor:
        """Upright stripes, one pixel wide: convolutional networks are sensitive to them. (N, C, H, W), all images."""
        signs = sent(self.draws.signs(clean.shape[3]), clean.device).to(clean.dtype)
        return (clean + self.epsilon * signs).clamp_(0, 1)

    def drawn(self, share: float) -> tuple[Tensor, Tensor]:
        """One query's numbers for all images: where its square is, (1, H, W), and each channel's sign, (N, C, 1, 1)."""
        side = side_of(share, self.draws.shape)
        return _mask(self.draws, side), self.draws.signs()

    def propose(self, x: Tensor, clean: Tensor, square: Tensor, signs: Tensor) -> Tensor:
        """The images x, (P, C, H, W), with a square each filled with -epsilon or epsilon."""
        return torch.where(square > 0, (clean + self.epsilon * signs).clamp_(0, 1), x)


class L2Squares:
    """Moves the perturbation's mass from one square to a bump in another."""

    def __init__(self, draws: Draws, epsilon: float) -> None:
        self.draws, self.epsilon = draws, epsilon

    def start(self, clean: Tensor) -> Tensor:
        """A grid of bumps that uses up epsilon. (N, C, H, W), all images."""
        _, _, height, width = clean.shape
        side = max(1, min(height, width) // TILES)
        delta = torch.zeros_like(clean)
        for row in range((height - height // side * side) // 2, height - side + 1, side):
            for column in range((width - width // side * side) // 2, width - side + 1, side):
                tile = sent(bump(side) * self.draws.signs(), clean.device).to(clean.dtype)
                delta[:, :, row : row + side, column : column + side] = tile
        return (clean + delta * (self.epsilon / l2_norm(delta))).clamp_(0, 1)

    def drawn(self, share: float) -> tuple[Tensor, Tensor]:
        """One query's numbers for all images: a bump in its place, 1 in its square, 1 outside of that and of the square
        that is emptied, (3, H, W); and the sign of each channel's bump, (N, C, 1, 1).
        """
        side = min(max(3, side_of(share, self.draws.shape) // 2 * 2 + 1), *self.draws.shape[2:])
        here, emptied = _mask(self.draws, side), _mask(self.draws, side)
        shape, bumps = bump(side).T if self.draws.coin() else bump(side), here.clone()
        bumps[here > 0] = shape.flatten()
        return torch.cat([bumps, here, (1 - here) * (1 - emptied)]), self.draws.signs()

    def propose(self, x: Tensor, clean: Tensor, squares: Tensor, signs: Tensor) -> Tensor:
        """A bump is added to the direction of one square, which gets the length of both squares and what is unused.

        What clipping to [0, 1] took away is unused, and shared by the channels.
        """
        bumps, here, outside = squares[:, :1], squares[:, 1:2], squares[:, 2:]
        delta = x - clean
        kept = delta * outside
        squared = _lengths(delta).square()
        unused = (self.epsilon**2 - squared.sum(1, keepdim=True)) / x.shape[1]
        length = (squared - _lengths(kept).square() + unused).clamp_min(0).sqrt()
        turned = _unit(_unit(delta * here).addcmul_(bumps, signs))
        return torch.addcmul(kept, turned, length).add_(clean).clamp_(0, 1)


SEARCHES: dict[NormName, type[LinfSquares | L2Squares]] = {"linf": LinfSquares, "l2": L2Squares}


def side_of(share: float, shape: torch.Size) -> int:
    """Of the square that has nearest this share of the pixels of (N, C, H, W): at least 1, at most the image."""
    _, _, height, width = shape
    side: int = max(1, min(round((share * height * width) ** 0.5), height, width))
    return side


@functools.cache
def bump(side: int) -> Tensor:
    """(side, side) of length 1: a hill beside a valley, each falling off from its middle (the paper's eta)."""
    left = side // 2
    both = torch.cat([_hill(side, left), -_hill(side, side - left)], 1)
    whole: Tensor = both / both.norm()
    return whole


def _hill(height: int, width: int) -> Tensor:
    """(height, width), height >= width: rings of equal value, each 1 / its number squared above the one outside it."""
    middle = height // 2
    rings = (1 / torch.arange(middle + 1, 0, -1).square()).cumsum(0)
    rows, columns = torch.arange(height) - middle, torch.arange(width) - width // 2
    return rings[middle - torch.maximum(rows.abs()[:, None], columns.abs())]


def _mask(draws: Draws, side: int) -> Tensor:
    """(1, H, W): 1 inside a square of this side somewhere, else 0."""
    row, column = draws.corner(side)
    mask = torch.zeros(1, *draws.shape[2:])
    mask[:, row : row + side, column : column + side] = 1
    return mask


def _lengths(image: Tensor) -> Tensor:
    """Of each channel of (P, C, H, W)."""
    found: Tensor = torch.linalg.vector_norm(image, dim=(2, 3), keepdim=True)
    return found


def _unit(image: Tensor) -> Tensor:
    """Each channel of (P, C, H, W) at length 1; zeros stay zeros."""
    return image / _lengths(image).clamp_min(1e-12)
