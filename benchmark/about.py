"""The shape of what a plan's record says of its suite, which anybody may have written."""

import math
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from benchmark.prices import prices_of
from benchmark.shapes import LONGEST_NAME, LONGEST_NOTE, is_amount

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


class _About(_Shape):
    yaml: Annotated[str, Field(max_length=_LONGEST_SUITE)]
    path: Line
    data: Line
    replicas: Annotated[int, Field(ge=0, le=_MOST_REPLICAS)]
    models: Annotated[list[_Model], Field(min_length=1, max_length=_MOST_MODELS)]
    evasion: Annotated[list[_Attack], Field(min_length=1, max_length=_MOST_ATTACKS)]
    inversion: Attacks
    membership: Attacks


def is_about(value: Any) -> bool:
    """Whether it has what `manifest.describe` says of a suite, and of the right types."""
    try:
        found = _About.model_validate(value)
        prices = prices_of(value)
    except (ValidationError, ValueError, RecursionError, OverflowError):
        return False
    names = [model.name for model in found.models]
    amounts = [*prices.gpu_hour.values(), *prices.core_hour.values()] if prices else []
    return len(set(names)) == len(names) and all(map(math.isfinite, amounts))
