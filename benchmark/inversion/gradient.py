"""Vanilla gradient inversion: projected gradient descent on the input towards a class."""

from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from benchmark.evasion.norms import LARGEST_L2, NORMS, NormName, check_length
from benchmark.inversion.descent import (
    Descent,
    Objective,
    Schedule,
    StepRule,
    class_loss,
    direction,
    share_left,
    total_variation,
)
from benchmark.search_space import Choice, Space, around
from benchmark.spec import Fraction

_STEP_SIZE: dict[StepRule, float] = {"steepest": 0.5, "sign": 0.02, "adam": 0.05}


class GradientInversion(Descent):
    """From a start of its own, each sample descends towards its class, and is projected to the ball and the box.

    objective: `cross_entropy`; `logit` raises the class's logit alone, which does not saturate.
    step: `steepest` descent in the norm (the normalised gradient for l2, its sign for linf), `sign` of the
    gradient whatever the norm of the ball, or `adam` (Kingma and Ba 2015).
    step_size: of the first step, pixel units: the length of a steepest step, the change of a pixel for `sign`
    and `adam`. None is 0.5, 0.02 and 0.05. schedule: how step lengths fall.
    norm, radius: ball around the start, None for the pixel box alone.
    With `start: class_gaussian` and an l2 radius it is the synthesis of Santurkar et al. 2019, who take 60 steps
    of 0.5 in a radius of 30 on CIFAR-10.
    """

    SOURCE = "Mejia et al. 2019, projected gradient descent, settings not published; start: Santurkar et al. 2019"
    TOLD_IF_SET = ("step", "start")
    objective: Objective = "cross_entropy"
    norm: NormName = "l2"
    step: StepRule = "steepest"
    step_size: Fraction | None = Field(default=None, gt=0, le=LARGEST_L2)
    schedule: Schedule = "linear"
    radius: Fraction | None = Field(default=None, gt=0, le=LARGEST_L2)

    @model_validator(mode="after")
    def _in_pixel_units(self) -> Self:
        check_length(self.norm, self.radius, "radius")
        return self

    @property
    def search_space(self) -> Space:
        return {
            "step_size": around(self._first_step),
            "schedule": Choice(("constant", "linear", "cosine")),
            "objective": Choice(("cross_entropy", "logit")),
            "total_variation": Choice((0.0, 0.1, 1.0)),
            **self.start_space,
        }

    def for_memoriser(self) -> Self:
        return self.model_copy(update={"objective": "logit", "total_variation": 0.0})

    def descend(self, model: nn.Module, start: Tensor, targets: Tensor) -> Tensor:
        norm, x = NORMS[self.norm], start
        towards = direction(self.step, self.norm)
        for step in range(self.steps):
            x = x.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(self._loss(model, x, targets), x)
            x = self.after_step(x.detach() - self._length(step) * towards(gradient), (step + 1) / self.steps)
            if self.radius is not None:
                x = start + norm.project(x - start, self.radius)
            x = x.clamp(0, 1)
        return x

    def _loss(self, model: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
        loss = class_loss(model(x), targets, self.objective)
        if self.total_variation:
            loss = loss + self.total_variation * total_variation(x).sum()
        return loss

    def _length(self, step: int) -> float:
        return self._first_step * share_left(self.schedule, step / self.steps)

    @property
    def _first_step(self) -> float:
        return _STEP_SIZE[self.step] if self.step_size is None else self.step_size
