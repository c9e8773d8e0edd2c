"""Settings are checked where they are read: names, types, numbers, fractions."""

import math
from typing import Any

import pytest
from pydantic import Field

from benchmark.spec import Fraction, Spec, SpecError, suggest


class Inner(Spec):
    epsilon: Fraction = Field(gt=0)


class Outer(Spec):
    steps: int = 1
    inner: list[Inner] = []


def test_a_fraction_is_the_quotient() -> None:
    for written, value in [("8/255", 8 / 255), (" 1 / 2 ", 0.5), ("1e-3", 0.001), (".5", 0.5), (3, 3.0), ("2.", 2.0)]:
        assert Inner.parse({"epsilon": written}).epsilon == value


BAD_FRACTIONS: list[Any] = [
    "abc", "", " ", "8/0", "8/0.0", "1e-400/1e-400", "nan", "inf", "-inf", "1e400", "1e308/1e-308", "1/2/3", "0x10",
    "8/255; import os", "__import__('os')", "--1", "1_000", "٣", math.nan, math.inf, 10**400, -(10**400),
    True, None, [1], {}, 0, -1, "-1", "8/-255", "1e-400",
]  # fmt: skip


@pytest.mark.parametrize("value", BAD_FRACTIONS, ids=lambda value: repr(value)[:20])
def test_what_is_no_fraction_is_refused(value: Any) -> None:
    with pytest.raises(SpecError, match=r"^epsilon: .*(allowed|greater than)") as error:
        Inner.parse({"epsilon": value})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", ["3", 3.0, True, None, [3], math.nan])
def test_an_int_is_an_int(value: Any) -> None:
    with pytest.raises(SpecError, match="^steps: .* is not allowed: input should be a valid integer$"):
        Outer.parse({"steps": value})


def test_an_error_names_the_place_the_value_and_what_is_allowed() -> None:
    with pytest.raises(SpecError) as error:
        Outer.parse({"inner": [{"epsilon": 1}, {"epsilon": "x"}]})
    assert str(error.value) == "inner[1].epsilon: 'x' is neither a number nor a fraction; allowed: 0.03 or 8/255"
    with pytest.raises(SpecError) as error:
        Outer.parse({"inner": [{"epsilon": 1}, {"epsilom": 1}]}, ("attack",))
    assert str(error.value) == "attack.inner[1]: unknown key 'epsilom' (did you mean 'epsilon'?); allowed: epsilon"
    with pytest.raises(SpecError) as error:
        Outer.parse({"inner": [{}]})
    assert str(error.value) == "inner[0].epsilon: this key is required"
    with pytest.raises(SpecError, match=r"^\[1\] is not a mapping; allowed: keys steps, inner$"):
        Outer.parse([1])


def test_suggest_is_silent_where_nothing_is_near() -> None:
    assert suggest("pdg", ["pgd", "fgsm"]) == " (did you mean 'pgd'?); allowed: fgsm, pgd"
    assert suggest("pdg", ["pgd", "pmd"]).startswith(" (did you mean 'pgd'?)")
    assert suggest("zzz", ["pgd", "fgsm"]) == "; allowed: fgsm, pgd"


def test_a_spec_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Outer().steps = 2
