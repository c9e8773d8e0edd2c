"""Attacks of a user's, for `--include`: children of the package's own that set next to nothing."""

from typing import ClassVar

from pydantic import Field

from benchmark.evasion.pgd import PGD
from benchmark.inversion.attack import Inversion
from benchmark.inversion.generator import GeneratorInversion
from benchmark.inversion.gradient import GradientInversion
from benchmark.membership.loss_threshold import LossThreshold
from benchmark.registry import register


class Mine(GradientInversion):
    """Descends as its parent does."""

    SOURCE: ClassVar[str] = "a test"
    note: str = ""


class MyGenerator(GeneratorInversion):
    """Searches as its parent does."""


class Strong(PGD):
    """Attacks as its parent does."""


class Smoothed(LossThreshold):
    """A membership attack with a setting."""

    share: float = Field(default=0.5, ge=0, le=1)


assert issubclass(Mine, Inversion)
register("inversion", "mine", Mine)
register("inversion", "my_generator", MyGenerator)
register("evasion", "strong", Strong)
register("membership", "smoothed", Smoothed)
