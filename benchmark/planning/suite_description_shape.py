"""Checks the description of a suite that is read from a results folder: anybody may have written it."""

import math
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from benchmark.planning.prices import prices_of
from benchmark.reading.plausible_values import LONGEST_NAME, LONGEST_NOTE, MOST_INCLUDED, is_amount

_LONGEST_SUITE = 16 * 2**20
_MOST_MODELS, _MOST_ATTACKS, _MOST_REPLICAS = 10_000, 1_000, 1_000_000


def _plausible(value: float) -> float:
    if not is_amount(value):
        raise ValueError("allowed: a finite number of 0 or more")
    return value


Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
Line = Annotated[str, Field(max_length=LONGEST_NOTE)]
Radius = Annotated[float, AfterValidator(_plausible)]
Attacks = Annotated[list[Name], Field(min_length=1, max_length=_MOST_ATTACKS)]


class _Shape(BaseModel):
    model_config = ConfigDict(strict=True)


class _Model(_Shape):
    name: Name
    architecture: Name
    regime: Name
    train_norm: Name | None
    train_epsilon: Radius | None
    num_members: Annotated[int, Field(ge=0, le=2**53)] | None = None
    checkpoint: Line | None = None


class _Attack(_Shape):
    label: Name
    kind: Name
    norm: Name
    epsilon: Radius


class _Included(_Shape):
    path: Annotated[str, Field(max_length=4096)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    text: Annotated[str, Field(max_length=MOST_INCLUDED)] | None


class _Older(_Shape):
    stage: Annotated[str, Field(max_length=200)]
    label: Annotated[str, Field(max_length=1000)]
    method: Annotated[str, Field(max_length=200)]
    version: Annotated[int, Field(ge=0, lt=2**31)]
    now: Annotated[int, Field(ge=0, lt=2**31)]


class _About(_Shape):
    yaml: Annotated[str, Field(max_length=_LONGEST_SUITE)]
    path: Line
    data: Line
    replicas: Annotated[int, Field(ge=0, le=_MOST_REPLICAS)]
    shadow_replicas: Annotated[int, Field(ge=0, le=_MOST_REPLICAS)] = 0
    models: Annotated[list[_Model], Field(min_length=1, max_length=_MOST_MODELS)]
    evasion: Annotated[list[_Attack], Field(min_length=1, max_length=_MOST_ATTACKS)]
    inversion: Attacks
    membership: Attacks
    included: Annotated[list[_Included], Field(max_length=256)] = []
    older: Annotated[list[_Older], Field(max_length=10_000)] = []

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        """Texts of included files are bounded together, too."""
        if sum(len(file.text or "") for file in self.included) > MOST_INCLUDED:
            raise ValueError("included: too much text")
        return self


def is_about(value: Any) -> bool:
    """Whether it has what `suite_description.describe` says of a suite, and of the right types."""
    try:
        found = _About.model_validate(value)
        prices = prices_of(value)
    except (ValidationError, ValueError, RecursionError, OverflowError):
        return False
    names = [model.name for model in found.models]
    amounts = [*prices.gpu_hour.values(), *prices.core_hour.values()] if prices else []
    return len(set(names)) == len(names) and all(map(math.isfinite, amounts))
