"""The step onto a hyperplane inside the box, against scipy's linear program and minimiser."""

import numpy as np
import pytest
import torch
from scipy.optimize import linprog, minimize
from torch import Tensor

from benchmark.evasion.hyperplanes import step_onto
from benchmark.evasion.norms import NormName

COUNT, SIZE = 16, 10


def cases() -> tuple[Tensor, Tensor, Tensor]:
    """Points in the box, some on its faces; weights, some 0; offsets from near 0 to nearly the most the box gives."""
    draw = torch.Generator().manual_seed(0)
    x, weights = torch.rand(COUNT, SIZE, generator=draw), torch.randn(COUNT, SIZE, generator=draw)
    x[::3, :4] = x[::3, :4].round()
    weights[::4, 2] = 0
    up = torch.arange(COUNT) % 2 == 0
    most = torch.where(up, -(weights.clamp(max=0) * (1 - x) - weights.clamp(min=0) * x).sum(1), 0.0)
    least = torch.where(up, 0.0, (weights.clamp(min=0) * (1 - x) - weights.clamp(max=0) * x).sum(1))
    return x, weights, (most - least) * torch.linspace(0.01, 0.98, COUNT)


def smallest_linf(x: Tensor, weights: Tensor, offset: float) -> float:
    """min r with -r <= d <= r, <weights, d> = -offset, x + d in the box: a linear program in (d, r)."""
    eye, ones = np.eye(SIZE), np.ones((SIZE, 1))
    found = linprog(
        np.r_[np.zeros(SIZE), 1],
        A_ub=np.block([[eye, -ones], [-eye, -ones]]),
        b_ub=np.zeros(2 * SIZE),
        A_eq=np.r_[weights, 0][None],
        b_eq=[-offset],
        bounds=[*((-v, 1 - v) for v in x.tolist()), (0, None)],
    )
    return float(found.fun)


def smallest_l2(x: Tensor, weights: Tensor, offset: float) -> float:
    w = weights.double().numpy()
    found = minimize(
        lambda d: (d @ d) / 2,
        np.zeros(SIZE),
        jac=lambda d: d,
        bounds=[(-v, 1 - v) for v in x.double().tolist()],
        constraints={"type": "eq", "fun": lambda d: w @ d + offset, "jac": lambda d: w},
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 200},
    )
    assert found.success, found.message
    return float(np.linalg.norm(found.x))


@pytest.mark.parametrize(("norm", "truth"), [("linf", smallest_linf), ("l2", smallest_l2)])
def test_it_reaches_the_hyperplane_by_the_smallest_step_in_the_box(norm: NormName, truth) -> None:  # type: ignore[no-untyped-def]
    x, weights, offsets = cases()
    step = step_onto(x, weights, offsets, norm)
    assert (x + step).min() >= -1e-6 and (x + step).max() <= 1 + 1e-6
    torch.testing.assert_close((weights * step).sum(1), -offsets, rtol=1e-5, atol=1e-6)
    sizes = step.abs().amax(1) if norm == "linf" else step.norm(dim=1)
    expected = torch.tensor([truth(*case) for case in zip(x, weights, offsets.tolist(), strict=True)])
    torch.testing.assert_close(sizes, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_hyperplane_out_of_reach_gives_the_nearest_corner(norm: NormName) -> None:
    x, weights = torch.tensor([[0.2, 0.5, 0.9]]), torch.tensor([[1.0, -2.0, 0.0]])
    step = step_onto(x, weights, torch.tensor([5.0]), norm)
    torch.testing.assert_close(x + step, torch.tensor([[0.0, 1.0, 0.9]]))


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(("weight", "offset"), [(1.0, 0.0), (0.0, 1.0), (0.0, 0.0)])
def test_nothing_moves_on_the_hyperplane_or_without_one(norm: NormName, weight: float, offset: float) -> None:
    step = step_onto(torch.full((1, 3), 0.5), torch.full((1, 3), weight), torch.tensor([offset]), norm)
    assert torch.equal(step, torch.zeros(1, 3))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_tiny_gradients_do_not_underflow(norm: NormName) -> None:
    """A step depends on offset over weights alone."""
    x, weights, offsets = cases()
    scaled = step_onto(x, weights * 1e-12, offsets * 1e-12, norm)
    torch.testing.assert_close(scaled, step_onto(x, weights, offsets, norm), rtol=1e-4, atol=1e-5)
