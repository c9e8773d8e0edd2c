"""The smallest step onto a hyperplane that stays inside [0, 1], in either norm."""

import torch
from torch import Tensor

from benchmark.evasion.norms import NormName

ROUNDS = 50
"""Newton's method is exact once it has passed every kink on its way: 3 to 8 rounds in practice."""
_ASKED_EVERY = 8
"""Rounds after which a GPU is asked whether all are done: to ask is to stall, and a round too many changes nothing."""
PRECISION = 1e-6
"""Of the step, relative: float32 sums are no better."""


def step_onto(x: Tensor, weights: Tensor, offset: Tensor, norm: NormName) -> Tensor:
    """(N, D): the smallest d with <weights, d> = -offset and x + d in [0, 1]; row by row.

    x: (N, D) in [0, 1]. weights: (N, D), normal to the hyperplane. offset: (N,), what a linear function with these
    weights is at x; the hyperplane is where it is 0. Where the box does not reach that: its nearest corner.

    Every coordinate moves by t times its pace, at most by its room to the box; the pace is 1 in linf, |weight| in l2
    (the Karush-Kuhn-Tucker conditions). What this gains is concave and piecewise linear in t, so Newton's method rises
    from t = 0 to the exact t, and nothing has to be sorted.
    """
    towards = -weights.sign() * offset.sign()[:, None]
    room = (0.5 - x).mul_(towards).add_(0.5)
    steep = weights.abs()
    slopes = steep if norm == "linf" else steep.square()
    goal = offset.abs()
    t, free = torch.zeros_like(goal), torch.empty_like(x)
    on_cpu = x.device.type == "cpu"
    for number in range(1, ROUNDS + 1):
        moved = torch.minimum(t[:, None] if norm == "linf" else t[:, None] * steep, room)
        missing = goal - torch.linalg.vecdot(moved, steep)
        # Into floats at once: a comparison's booleans cost more to turn into floats than all else here.
        slope = torch.linalg.vecdot(torch.lt(moved, room, out=free), slopes)
        short = (missing > PRECISION * goal) & (slope > 0)
        if (on_cpu or number % _ASKED_EVERY == 0) and not bool(short.any()):
            break
        t = torch.where(short, t + missing / slope, t)
    return towards * moved
