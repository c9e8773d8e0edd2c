"""`Spec`: the frozen, checked settings of one method, with errors for unknown keys and wrong values."""

import difflib
import math
import re
import sys
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator

from benchmark.reading.text import printable, shown

LARGEST = 2**63 - 1
"""No setting is a larger whole number, not even a seed."""
_DEEPEST = 50
_SHOWN = 80
"""Characters of a name in a message."""


class SpecError(ValueError):
    """The user's input is wrong. `str()` is one line: where, which value, what is allowed."""

    def __init__(self, message: str, path: tuple[str | int, ...] = ()) -> None:
        self.message, self.path = message, path
        where = "".join(f"[{p}]" if isinstance(p, int) else f".{printable(p)[:_SHOWN]}" for p in path).lstrip(".")
        super().__init__(f"{where}: {message}" if where else message)


def suggest(name: str, allowed: Iterable[str]) -> str:
    """What to say after an unknown `name`: " (did you mean 'pgd'?); allowed: fgsm, pgd"."""
    names = sorted(allowed)
    close = difflib.get_close_matches(str(name)[:_SHOWN], names, n=3)
    close.sort(key=lambda other: sorted(other) != sorted(str(name)))  # two letters swapped are the likeliest mistake
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return f"{hint}; allowed: {', '.join(names)}"


class Spec(BaseModel):
    """A frozen settings object that refuses unknown keys and wrong types.

    `VERSION` rises when the numbers of the method change; `SOURCE` names the paper.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    VERSION: ClassVar[int] = 1
    SOURCE: ClassVar[str] = ""
    TOLD: ClassVar[tuple[str, ...]] = ()
    """Settings that the label of the method tells, see `benchmark.planning.labels`."""
    TOLD_IF_SET: ClassVar[tuple[str, ...]] = ()
    """Settings that it tells where they are not the default."""
    LATER: ClassVar[tuple[str, ...]] = ()
    """Settings that came later: they are part of the identity where they are set, so that keys of before stay."""

    @property
    def origin(self) -> str:
        """Name of the module whose text decides what the method does."""
        return type(self).__module__

    @property
    def unset(self) -> set[str]:
        """Those of `LATER` that are at their default."""
        fields = type(self).model_fields
        return {name for name in self.LATER if getattr(self, name) == fields[name].default}

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for key in data:
                if key not in cls.model_fields:
                    raise SpecError(f"unknown key {shown(key)}{suggest(key, cls.model_fields)}")
            _check_sizes(data)
        return data

    @classmethod
    def parse(cls, data: Any, path: tuple[str | int, ...] = ()) -> Self:
        """`data` (from YAML or JSON) as a checked object. Raises SpecError with one line."""
        if isinstance(data, cls):
            return data
        if not isinstance(data, dict):
            raise SpecError(f"{shown(data)} is not a mapping; allowed: keys {', '.join(cls.model_fields)}", path)
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise _first_problem(error, path) from None


def _first_problem(error: ValidationError, path: tuple[str | int, ...]) -> SpecError:
    first = error.errors()[0]
    where = (*path, *first["loc"])
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, SpecError):
        return SpecError(cause.message, (*where, *cause.path))
    if first["type"] == "missing":
        return SpecError("this key is required", where)
    if isinstance(cause, Exception):
        return SpecError(str(cause), where)
    message = first["msg"][0].lower() + first["msg"][1:]
    return SpecError(f"{shown(first['input'])} is not allowed: {message[:200]}", where)


def _check_sizes(value: Any, path: tuple[str | int, ...] = ()) -> None:
    """Raise SpecError for a whole number, at any place in plain data, that no arithmetic of ours can take."""
    if isinstance(value, int):
        if abs(value) > LARGEST:
            raise SpecError(f"{shown(value)} is not allowed; allowed: whole numbers of at most 18 digits", path)
    elif isinstance(value, dict | list | tuple):
        if len(path) > _DEEPEST:
            raise SpecError(f"too many levels of nesting; allowed: {_DEEPEST}", path[:1])
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            _check_sizes(key, path)
            _check_sizes(part, (*path, key if isinstance(key, int) else str(key)))


_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_FRACTION = re.compile(rf"\s*({_NUMBER})\s*(?:/\s*({_NUMBER}))?\s*", re.ASCII)


def _fraction(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value) if abs(value) <= sys.float_info.max else math.inf
    else:
        # The longest float has 24 characters; the time that a pattern takes grows with the square of a text.
        match = _FRACTION.fullmatch(value) if isinstance(value, str) and len(value) <= _SHOWN else None
        if match is None or (match[2] is not None and float(match[2]) == 0):
            raise SpecError(f"{shown(value)} is neither a number nor a fraction; allowed: 0.03 or 8/255")
        number = float(match[1]) / float(match[2] or 1)
    if not math.isfinite(number):
        raise SpecError(f"{shown(value)} is not finite; allowed: 0.03 or 8/255")
    return number


Fraction = Annotated[float, BeforeValidator(_fraction)]
"""A float that a suite may write as `8/255`; read without eval."""
