"""What a suite file says of its models: those that are trained here, those that were trained elsewhere, evaluators."""

from typing import Annotated, Any, cast

from pydantic import BeforeValidator, Field, StringConstraints

from benchmark.planning.given_model import Checkpoint
from benchmark.reading.text import shown
from benchmark.regimes.regime import Regime
from benchmark.registry import ArchitectureField, RegimeField
from benchmark.spec import Spec, SpecError

Name = Annotated[
    str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True, pattern=r"^[^\x00-\x1f\x7f]*$")
]


class Recipe(Spec):
    """How a model is made."""

    architecture: ArchitectureField
    regime: RegimeField

    @property
    def adversary(self) -> tuple[str, float] | None:
        """Norm and radius (pixel units) of the adversary that it trains against, if any."""
        return cast(Regime, self.regime).adversary


class ModelEntry(Recipe):
    """One row of the leaderboard: a model that is trained here. num_members: default, the pools'."""

    name: Name
    num_members: int | None = Field(default=None, ge=1, le=1_000_000_000)


class Shadow(Spec):
    """How shadow models of a model that was trained elsewhere are trained: as it was, as far as that is known.

    architecture: default, the model's.
    """

    regime: RegimeField
    architecture: ArchitectureField | None = None


class ExternalModel(Spec):
    """One row of the leaderboard: a model that was trained elsewhere."""

    name: Name
    architecture: ArchitectureField
    checkpoint: Checkpoint
    shadow: Shadow | None = None

    @property
    def shadow_recipe(self) -> Recipe | None:
        """What the suite's `shadow_replicas` of it are, if there are any."""
        if self.shadow is None:
            return None
        return Recipe(architecture=self.shadow.architecture or self.architecture, regime=self.shadow.regime)

    @property
    def adversary(self) -> tuple[str, float] | None:
        """Norm and radius (pixel units) of the adversary that it was trained against, as declared."""
        declared = self.checkpoint.adversary
        return (str(declared.norm), declared.epsilon) if declared else None


def _model(value: Any) -> Any:
    if isinstance(value, AnyModel):
        return value
    if not isinstance(value, dict):
        raise SpecError(f"{shown(value)} is not allowed; allowed: a mapping with the keys name, architecture, ...")
    if len({"regime", "checkpoint"} & value.keys()) != 1:
        there = "both" if "regime" in value else "neither"
        allowed = "one of 'regime' (trained here) and 'checkpoint' (trained elsewhere)"
        raise SpecError(f"{shown(value.get('name'))} has {there}; allowed: {allowed}")
    return (ExternalModel if "checkpoint" in value else ModelEntry).parse(value)


AnyModel = ModelEntry | ExternalModel
ModelField = Annotated[AnyModel, BeforeValidator(_model)]


class Evaluators(Spec):
    """Two judges of reconstructions, trained on the auxiliary pool alone."""

    standard: Recipe
    robust: Recipe
