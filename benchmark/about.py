"""The shape of what a plan's record says of its suite, which anybody may have written."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from benchmark.schema import MOST_INCLUDED


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
    yaml: str
    path: str
    data: str
    replicas: int
    models: Annotated[list[_Model], Field(min_length=1)]
    evasion: Annotated[list[_Attack], Field(min_length=1)]
    inversion: Annotated[list[str], Field(min_length=1)]
    membership: Annotated[list[str], Field(min_length=1)]
    included: Annotated[list[_Included], Field(max_length=256)] = []
    older: Annotated[list[_Older], Field(max_length=10_000)] = []

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        """Texts of included files are bounded together, too."""
        if sum(len(file.text or "") for file in self.included) > MOST_INCLUDED:
            raise ValueError("included: too much text")
        return self


def is_about(value: Any) -> bool:
    """Whether it has what `manifest.describe` says of a suite, and of the right types."""
    try:
        _About.model_validate(value)
    except (ValidationError, RecursionError):
        return False
    return True
