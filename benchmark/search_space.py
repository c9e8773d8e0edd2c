"""Describes what `bench tune` may set a setting to: a range or a choice, from which places in [0, 1) pick values."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class LogUniform:
    """A positive number whose logarithm is uniform. Rounded to three digits, as people write settings."""

    low: float
    high: float

    def at(self, u: float) -> float:
        """The quantile of u, in [0, 1)."""
        return float(f"{self.low * math.exp(u * math.log(self.high / self.low)):.3g}")

    def __str__(self) -> str:
        return f"{self.low:.3g} to {self.high:.3g} (log-uniform)"


@dataclass(frozen=True)
class Choice:
    """One of several values, all equally likely."""

    options: tuple[Any, ...]

    def at(self, u: float) -> Any:
        """The quantile of u, in [0, 1)."""
        return self.options[int(u * len(self.options))]

    def __str__(self) -> str:
        return " or ".join(str(option) for option in self.options)


Space = Mapping[str, LogUniform | Choice]
"""Name of a setting -> its range."""


def around(value: float, factor: float = 10.0) -> LogUniform:
    """From `value / factor` to `value * factor`."""
    return LogUniform(value / factor, value * factor)
