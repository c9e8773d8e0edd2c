"""What every training against an adversary has: the ball, and how long the adversary's steps are."""

from typing import Self

from pydantic import Field, model_validator

from benchmark.evasion.norms import LARGEST_L2, NormName, check_length
from benchmark.regimes.regime import SupervisedTraining
from benchmark.spec import Fraction


class AdversarialTraining(SupervisedTraining):
    """norm, epsilon: the ball around each image. step_size: pixel units; None is the regime's usual one."""

    norm: NormName = "linf"
    epsilon: Fraction = Field(gt=0, le=LARGEST_L2)
    step_size: Fraction | None = Field(default=None, gt=0, le=LARGEST_L2)

    @model_validator(mode="after")
    def _in_pixel_units(self) -> Self:
        check_length(self.norm, self.epsilon)
        check_length(self.norm, self.step_size, "step_size")
        return self

    @property
    def adversary(self) -> tuple[str, float]:
        return self.norm, self.epsilon
