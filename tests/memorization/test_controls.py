import pytest

from benchmark.memorization.controls import CONTROLS, NULL_CONTROLS, ControlRate, verdicts
from benchmark.stats import Interval


def at(value: float, margin: float = 0.05, p_value: float | None = None) -> ControlRate:
    return ControlRate(Interval(value, max(0.0, value - margin), min(1.0, value + margin), 200), p_value)


GOOD = {
    "memoriser": at(0.9),
    "untrained": at(0.46),
    "injected_exact": at(1.0),
    "injected_noisy": at(0.95),
    "injected_out": at(0.0),
    "injected_auxiliary": at(0.54),
}
BAD = {
    "memoriser": at(0.89),
    "untrained": at(0.44),
    "injected_exact": at(0.995),
    "injected_noisy": at(0.94),
    "injected_out": at(0.005),
    "injected_auxiliary": at(0.56),
}


def test_every_control_has_a_good_and_a_bad_case() -> None:
    assert set(GOOD) == set(BAD) == set(CONTROLS)


@pytest.mark.parametrize("control", CONTROLS)
def test_verdicts_at_the_border(control: str) -> None:
    found = verdicts({control: {"pixel": GOOD[control], "evaluator": BAD[control]}})
    assert [(v.control, v.space, v.passed) for v in found] == [(control, "pixel", True), (control, "evaluator", False)]
    assert all(any(digit in v.expected for digit in ("0.5", "0.9", "0.95", "1.0", "0.0")) for v in found)


@pytest.mark.parametrize("control", NULL_CONTROLS)
def test_a_wide_interval_does_not_save_a_null_control_from_the_re_cut(control: str) -> None:
    found = verdicts({control: {"pixel": at(0.9, 0.5, p_value=0.01), "evaluator": at(0.9, 0.5, p_value=0.001)}})
    assert [verdict.passed for verdict in found] == [True, False]


def test_absent_controls_are_not_judged_and_unknown_ones_refused() -> None:
    assert verdicts({}) == []
    with pytest.raises(ValueError, match="'memorizer' is unknown"):
        verdicts({"memorizer": {"pixel": at(1.0)}})
