"""A method that the caller names or holds, as the settings object that a suite would make of it."""

from collections.abc import Mapping
from typing import Any

import torch

from benchmark import registry
from benchmark.spec import LARGEST, Spec, SpecError


def parsed(kind: str, method: str | Spec, settings: Mapping[str, Any]) -> Spec:
    """method: a registered name, to which `settings` belong, or a Spec, which has its own.

    Raises SpecError with the nearest name for an unknown method or setting, and for a Spec of another kind.
    """
    if isinstance(method, str):
        return registry.parse(kind, {**settings, "method": method})
    if not isinstance(method, registry.base_of(kind)):
        raise SpecError(f"method: a {type(method).__name__} is not allowed; allowed: a name, or a Spec of {kind}")
    if settings:
        raise SpecError(f"{next(iter(settings))}: not allowed beside a Spec; allowed: a name with settings, or a Spec")
    return method


def name_of(kind: str, spec: Spec) -> str:
    """Its registered name; that of its class, where it has none."""
    try:
        return registry.name_of(kind, spec)
    except StopIteration:
        return type(spec).__name__


def whole(name: str, value: object, least: int = 0) -> int:
    """A whole number that the caller gave. Raises SpecError."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= LARGEST:
        raise SpecError(f"{name}: {value!r} is not allowed; allowed: a whole number, at least {least}")
    return value


def seeded(seed: int) -> torch.Generator:
    """The randomness of a call, on the CPU: the same on every device. Raises SpecError for what is no seed."""
    return torch.Generator().manual_seed(whole("seed", seed))
