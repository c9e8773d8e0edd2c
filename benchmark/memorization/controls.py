"""Controls with a known in_rate: where one misses it, the in_rates of that suite are not to be believed."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from benchmark.stats import Interval

_EXPECTED: dict[str, tuple[str, Callable[[Interval], bool]]] = {
    "memoriser": ("at least 0.9: it stores its members", lambda rate: rate.value >= 0.9),
    "untrained": ("0.5 in its interval at 99.4%: it saw no image", lambda rate: rate.low <= 0.5 <= rate.high),
    "injected_exact": ("1.0: these are members", lambda rate: rate.value == 1.0),
    "injected_noisy": ("at least 0.95: these are members with noise", lambda rate: rate.value >= 0.95),
    "injected_out": ("0.0: these are non-members", lambda rate: rate.value == 0.0),
    "injected_auxiliary": (
        "0.5 in its interval at 99.4%: these are neither",
        lambda rate: rate.low <= 0.5 <= rate.high,
    ),
}

CONTROLS = tuple(_EXPECTED)
NULL_LEVEL = 1 - 0.05 / 8
"""Level of the intervals to be judged. Two null controls in four spaces are eight tests: at 95% each, a suite
without any fault would fail one every third time (Bonferroni)."""


class Verdict(NamedTuple):
    """Whether one control came out as expected in one feature space. `expected` is for people."""

    control: str
    space: str
    expected: str
    passed: bool


def verdicts(in_rates: Mapping[str, Mapping[str, Interval]]) -> list[Verdict]:
    """Judge measured in_rates: control -> space -> interval at NULL_LEVEL. Controls that were not run are not judged.

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
