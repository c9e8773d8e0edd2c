"""Bills worked out by hand."""

from typing import Any

import pytest

from benchmark.planning.prices import Prices, bill
from benchmark.planning.suite import parse_suite
from benchmark.spec import SpecError

H100 = {"device": "NVIDIA H100 80GB HBM3", "threads": 2, "wall_s": 1800.0, "gpu_s": 1800.0, "gpus": 0.5}
A10 = {"device": "NVIDIA A10G", "threads": 2, "wall_s": 3600.0, "gpu_s": 3600.0, "gpus": 2.0}
OLD = {"device": "NVIDIA A10G", "threads": 1, "wall_s": 3600.0, "gpu_s": 3600.0}  # before shares were kept
CPU = {"device": "abacus", "threads": 4, "wall_s": 900.0, "gpu_s": 0.0, "gpus": 0.0}
TABLE: dict[str, Any] = {"currency": "EUR", "gpu_hour": {"NVIDIA H100 80GB HBM3": 3.0, "default": 1}, "core_hour": 0.04}


def test_a_share_costs_its_share() -> None:
    found = bill([H100, A10, OLD, CPU], Prices.parse(TABLE))
    assert found.gpu_hours == pytest.approx(0.25 + 2 + 1)
    assert found.core_hours == pytest.approx(1.0)
    assert found.money == pytest.approx(0.25 * 3 + 2 * 1 + 1 * 1 + 1.0 * 0.04)
    assert found.seconds == 1800 + 3600 + 3600 + 900
    assert found.text() == "3.25 GPU-hours, 3.79 EUR"


def test_a_device_without_a_price_is_named_and_never_free() -> None:
    prices = Prices.parse({"currency": "USD", "gpu_hour": {"NVIDIA H100 80GB HBM3": 2.0}})
    assert bill([H100], prices).money == 0.5
    found = bill([H100, A10, A10, CPU], prices)
    assert found.money is None
    assert found.text() == "4.25 GPU-hours, no price for 'NVIDIA A10G'"


def test_a_processor_is_free_unless_it_has_a_price() -> None:
    assert bill([CPU], Prices.parse({"currency": "USD", "gpu_hour": 2.0})).money == 0.0
    assert bill([CPU], Prices.parse({"currency": "USD", "core_hour": {"abacus": 0.1, "default": 9}})).money == 0.1


def test_without_prices_there_are_hours_and_no_money() -> None:
    found = bill([H100, CPU], None)
    assert (found.money, found.currency) == (None, None)
    assert found.text() == "0.25 GPU-hours" and bill([CPU], None).text() == "1.00 core-hours"


@pytest.mark.parametrize(
    ("prices", "said"),
    [
        ({"gpu_hour": 1}, "currency: this key is required"),
        ({"currency": "USD", "gpu_hour": -1}, "gpu_hour.default: -1.0 is less than nothing"),
        ({"currency": "USD", "gpu_hour": {"A": "2 USD"}}, "gpu_hour.A: '2 USD' is no price"),
        ({"currency": "USD", "gpu_hour": {"A": float("inf")}}, "gpu_hour.A: "),
        ({"currency": "USD", "gpu_hour": {100: 2}}, "gpu_hour: 100 is no device"),
        ({"currency": "US D"}, "currency: 'US D' is not allowed"),
        ({"currency": "USD", "gpu_hours": 1}, "unknown key 'gpu_hours' (did you mean 'gpu_hour'?)"),
        (3, "is not a mapping|prices"),
    ],
)  # fmt: skip
def test_a_wrong_table_is_one_line(prices: Any, said: str) -> None:
    with pytest.raises(SpecError, match=said.replace("(", r"\(").replace(")", r"\)").replace("?", r"\?")) as caught:
        Prices.parse(prices)
    assert "\n" not in str(caught.value)


def test_prices_are_no_part_of_what_a_suite_is(tiny: dict[str, Any]) -> None:
    plain, priced = parse_suite(tiny), parse_suite({**tiny, "prices": TABLE})
    assert plain.hash == priced.hash and priced.prices == Prices.parse(TABLE)
    with pytest.raises(SpecError, match=r"prices\.gpu_hour\.default: "):
        parse_suite({**tiny, "prices": {"currency": "USD", "gpu_hour": "much"}})


@pytest.fixture
def tiny() -> dict[str, Any]:
    import command
    import yaml

    found: dict[str, Any] = yaml.safe_load(command.TINY.read_text())
    return found
