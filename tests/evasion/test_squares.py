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


ALL = torch.arange(6)


def test_linf_starts_from_stripes() -> None:
    x = images(0.3, 0.7)
    delta = LinfSquares(x, 0.1).start(draws(), ALL) - x
    torch.testing.assert_close(delta.abs(), torch.full_like(x, 0.1))
    assert (delta.sign().amin(2) == delta.sign().amax(2)).all()
    assert 0.3 < (delta > 0).float().mean() < 0.7


@pytest.mark.parametrize("kind", [LinfSquares, L2Squares])
def test_a_proposal_changes_squares_of_the_given_share_alone(kind: type[LinfSquares | L2Squares]) -> None:
    x = images(0.3, 0.7)
    search, numbers = kind(x, 0.1), draws()
    start = search.start(numbers, ALL)
    for share in (0.5, 0.2, 0.06):
        side = side_of(share, x)
        side = side if kind is LinfSquares else side // 2 * 2 + 1
        changed = (search.propose(start, share, numbers, ALL) != start).any(0).any(0)
        assert 0 < changed.sum() <= side**2 * (1 if kind is LinfSquares else 2)
        assert changed.any(1).sum() <= side * (1 if kind is LinfSquares else 2)


def test_linf_squares_are_at_the_edge_of_the_ball_and_the_box() -> None:
    x = images()
    search, numbers = LinfSquares(x, 0.2), draws()
    moved = search.propose(search.start(numbers, ALL), 0.3, numbers, ALL)
    delta = moved - x
    at_edge = torch.isclose(delta.abs(), torch.tensor(0.2)) | (moved == 0) | (moved == 1)
    assert at_edge.all() and moved.min() >= 0 and moved.max() <= 1


def test_l2_proposals_use_up_epsilon_and_move_length_between_squares() -> None:
    x = images(0.4, 0.6)
    search, numbers = L2Squares(x, 0.5), draws()
    moved = search.start(numbers, ALL)
    torch.testing.assert_close((moved - x).flatten(1).norm(dim=1), torch.full((6,), 0.5))
    for _ in range(200):
        moved = search.propose(moved, 0.05, numbers, ALL)
    torch.testing.assert_close((moved - x).flatten(1).norm(dim=1), torch.full((6,), 0.5))
    per_channel = (moved - x).square().sum((2, 3)).amax()
    assert per_channel < 0.25, "no channel takes what another had"


def test_l2_takes_back_what_the_box_cut_off() -> None:
    x = images().round()
    search, numbers = L2Squares(x, 2.0), draws()
    moved = search.start(numbers, ALL)
    cut = (moved - x).flatten(1).norm(dim=1)
    for _ in range(50):
        moved = search.propose(moved, 0.1, numbers, ALL)
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


def test_draws_do_not_depend_on_who_is_left() -> None:
    all_, some = draws(), draws()
    for _ in range(3):
        assert all_.corner(4) == some.corner(4)
        assert torch.equal(all_.signs(ALL)[2:5], some.signs(ALL[2:5]))


def test_corners_reach_every_place() -> None:
    numbers = draws()
    found = {numbers.corner(9) for _ in range(300)}
    assert found == {(row, column) for row in range(3) for column in range(5)}
