"""What the Square attack tries next."""

import pytest
import torch
from torch import Tensor

from benchmark.evasion.squares import Draws, L2Squares, LinfSquares, bump, side_of

SHAPE = torch.Size((6, 3, 11, 13))


def images(low: float = 0.0, high: float = 1.0) -> Tensor:
    return low + (high - low) * torch.rand(SHAPE, generator=torch.Generator().manual_seed(0))


def draws(seed: int = 1) -> Draws:
    return Draws(SHAPE, torch.Generator().manual_seed(seed))


Kind = type[LinfSquares | L2Squares]


def proposed(search: LinfSquares | L2Squares, x: Tensor, clean: Tensor, share: float) -> Tensor:
    squares, signs = search.drawn(share)
    return search.propose(x, clean, squares.expand(len(x), *squares.shape), signs)


def test_linf_starts_from_stripes() -> None:
    x = images(0.3, 0.7)
    delta = LinfSquares(draws(), 0.1).start(x) - x
    torch.testing.assert_close(delta.abs(), torch.full_like(x, 0.1))
    assert (delta.sign().amin(2) == delta.sign().amax(2)).all()
    assert 0.3 < (delta > 0).float().mean() < 0.7


@pytest.mark.parametrize("kind", [LinfSquares, L2Squares])
def test_a_proposal_changes_squares_of_the_given_share_alone(kind: Kind) -> None:
    x = images(0.3, 0.7)
    search = kind(draws(), 0.1)
    start = search.start(x)
    for share in (0.5, 0.2, 0.06):
        side = side_of(share, SHAPE)
        side = side if kind is LinfSquares else side // 2 * 2 + 1
        moved = ((proposed(search, start, x, share) - start).abs() > 1e-6).any(0).any(0)
        assert 0 < moved.sum() <= side**2 * (1 if kind is LinfSquares else 2)
        assert moved.any(1).sum() <= side * (1 if kind is LinfSquares else 2)


def test_linf_squares_are_at_the_edge_of_the_ball_and_the_box() -> None:
    x = images()
    search = LinfSquares(draws(), 0.2)
    moved = proposed(search, search.start(x), x, 0.3)
    delta = moved - x
    at_edge = torch.isclose(delta.abs(), torch.tensor(0.2)) | (moved == 0) | (moved == 1)
    assert at_edge.all() and moved.min() >= 0 and moved.max() <= 1


def test_l2_by_hand() -> None:
    """Mass 0.3 and 0.4 in two pixels of an 11 x 13 image, one in each square: what comes out is as long."""
    x = torch.full(SHAPE, 0.5)
    delta = torch.zeros(SHAPE)
    delta[:, :, 2, 2], delta[:, :, 8, 9] = 0.3, 0.4
    search = L2Squares(draws(), (3 * 0.5**2) ** 0.5)
    bumps, here, outside = torch.zeros(11, 13), torch.zeros(11, 13), torch.ones(11, 13)
    bumps[1:4, 1:4], here[1:4, 1:4], outside[1:4, 1:4], outside[7:10, 8:11] = bump(3), 1, 0, 0
    squares = torch.stack([bumps, here, outside]).expand(6, 3, 11, 13)
    moved = search.propose(x + delta, x, squares, torch.ones(6, 3, 1, 1)) - x
    direction = bump(3).clone()
    direction[1, 1] += 1
    torch.testing.assert_close(moved[0, 0, 1:4, 1:4], 0.5 * direction / direction.norm())
    assert moved[:, :, 7:10, 8:11].abs().max() < 1e-6
    torch.testing.assert_close(moved.flatten(2).norm(dim=2), torch.full((6, 3), 0.5))


def test_l2_proposals_keep_to_epsilon() -> None:
    x = images(0.4, 0.6)
    search = L2Squares(draws(), 0.5)
    moved = search.start(x)
    torch.testing.assert_close((moved - x).flatten(1).norm(dim=1), torch.full((6,), 0.5))
    for _ in range(200):
        moved = proposed(search, moved, x, 0.05)
    torch.testing.assert_close((moved - x).flatten(1).norm(dim=1), torch.full((6,), 0.5))
    assert (moved - x).square().sum((2, 3)).amax() < 0.25, "no channel takes what another had"


def test_l2_takes_back_what_the_box_cut_off() -> None:
    x = images().round()
    search = L2Squares(draws(), 2.0)
    moved = search.start(x)
    cut = (moved - x).flatten(1).norm(dim=1)
    for _ in range(50):
        moved = proposed(search, moved, x, 0.1)
        assert (moved - x).flatten(1).norm(dim=1).max() <= 2.0 + 1e-5
    assert (cut < 1.7).all() and ((moved - x).flatten(1).norm(dim=1) > cut).all()


def test_the_bump_by_hand() -> None:
    """side 3: a column 1 wide against two: left 1/4, 1/4 + 1, 1/4; right the same twice, the first column weaker."""
    left = torch.tensor([[0.25], [1.25], [0.25]])
    right = torch.tensor([[0.25, 0.25], [0.25, 1.25], [0.25, 0.25]])
    expected = torch.cat([left, -right], 1)
    torch.testing.assert_close(bump(3), expected / expected.norm())
    assert bump(1).abs().item() == 1
    for side in range(1, 9):
        assert bump(side).shape == (side, side) and bump(side).norm().item() == pytest.approx(1)


def test_corners_reach_every_place() -> None:
    numbers = draws()
    found = {numbers.corner(9) for _ in range(300)}
    assert found == {(row, column) for row in range(3) for column in range(5)}
