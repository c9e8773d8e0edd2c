"""The shape of what a plan's record says of its suite, which anybody may have written."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class _Shape(BaseModel):
    model_config = ConfigDict(strict=True)


class _Model(_Shape):
    name: str
    architecture: str
    regime: str
    train_norm: str | None
    train_epsilon: float | None
    num_members: int | None = None
    checkpoint: str | None = None


class _Attack(_Shape):
    label: str
    kind: str
    norm: str
    epsilon: float


class _About(_Shape):
    yaml: str
    path: str
    data: str
    replicas: int
    models: Annotated[list[_Model], Field(min_length=1)]
    evasion: Annotated[list[_Attack], Field(min_length=1)]
    inversion: Annotated[list[str], Field(min_length=1)]
    membership: Annotated[list[str], Field(min_length=1)]


def is_about(value: Any) -> bool:
    """Whether it has what `manifest.describe` says of a suite, and of the right types."""
    try:
        _About.model_validate(value)
    except (ValidationError, RecursionError):
        return False
    return True
