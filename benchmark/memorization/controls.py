"""Controls with a known in_rate: where one misses it, the in_rates of that suite are not to be believed."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from benchmark.stats import ALPHA, Interval

NULL_LEVEL = 1 - ALPHA / 8
"""Level of the intervals, and of the p-values, to be judged. Two null controls in four spaces are eight tests: at 95%
each, a suite without any fault would fail one every third time (Bonferroni)."""


class ControlRate(NamedTuple):
    """An in_rate: its interval at NULL_LEVEL, and its p-value by re-cutting, None where cuts are not known."""

    rate: Interval
    p_value: float | None = None

    def is_null(self) -> bool:
        """0.5 is in the interval, and the rate is one that other cuts of the private images give as well."""
        return self.rate.low <= 0.5 <= self.rate.high and (self.p_value is None or self.p_value >= 1 - NULL_LEVEL)


_NULL = "0.5 in its interval, and its rate among those of other cuts, at 99.4%"
_EXPECTED: dict[str, tuple[str, Callable[[ControlRate], bool]]] = {
    "memoriser": ("at least 0.9: it stores its members", lambda found: found.rate.value >= 0.9),
    "untrained": (f"{_NULL}: it saw no image", ControlRate.is_null),
    "injected_exact": ("1.0: these are members", lambda found: found.rate.value == 1.0),
    "injected_noisy": ("at least 0.95: these are members with noise", lambda found: found.rate.value >= 0.95),
    "injected_out": ("0.0: these are non-members", lambda found: found.rate.value == 0.0),
    "injected_auxiliary": (f"{_NULL}: these are neither", ControlRate.is_null),
}

CONTROLS = tuple(_EXPECTED)
NULL_CONTROLS = ("untrained", "injected_auxiliary")


class Verdict(NamedTuple):
    """Whether one control came out as expected in one feature space. `expected` is for people."""

    control: str
    space: str
    expected: str
    passed: bool


def verdicts(in_rates: Mapping[str, Mapping[str, ControlRate]]) -> list[Verdict]:
    """Judge measured in_rates: control -> space -> rate. Controls that were not run are not judged.

    Raises ValueError for a name that is not in CONTROLS.
    """
    unknown = sorted(set(in_rates) - set(CONTROLS))
    if unknown:
        raise ValueError(f"control {unknown[0]!r} is unknown; allowed: {', '.join(CONTROLS)}")
    found = []
    for control, by_space in in_rates.items():
        expected, holds = _EXPECTED[control]
        found += [Verdict(control, space, expected, holds(rate)) for space, rate in by_space.items()]
    return found
