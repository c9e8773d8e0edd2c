"""Prices of a GPU hour and a core hour, as a suite gives them, and the bill of its trials.

A bill is made from the trials' provenance whenever it is looked at, at the suite's present prices: no row keeps one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from benchmark.reading.text import shown
from benchmark.spec import Spec, SpecError

DEFAULT = "default"
_HOUR = 3600.0


def _amount(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SpecError(f"{shown(value)} is no price; allowed: a number of 0 or more, such as 2.50")
    return float(value)


def _positive(value: float) -> float:
    if value < 0:
        raise SpecError(f"{value!r} is less than nothing; allowed: a price of 0 or more")
    return value


Amount = Annotated[float, BeforeValidator(_amount), AfterValidator(_positive), Field(ge=0, le=1e9)]


def _by_device(value: Any) -> Any:
    """A single number is the price of every device."""
    if isinstance(value, dict):
        for name in value:
            if not isinstance(name, str):
                raise SpecError(f"{shown(name)} is no device; allowed: its name as in column `device`, or {DEFAULT}")
        return value
    return {DEFAULT: value}


ByDevice = Annotated[dict[str, Amount], BeforeValidator(_by_device)]


class Prices(Spec):
    """Money an hour. It changes no number, and is in no key and not in the suite's hash.

    gpu_hour: of one GPU, by its name as in column `device`, or of every one; `default` is for the others. core_hour:
    of one CPU thread of a trial that holds no GPU; 0 where the processor comes with the GPU.
    """

    currency: str = Field(min_length=1, max_length=12, pattern=r"^[^\x00-\x20\x7f]+$")
    gpu_hour: ByDevice = {}
    core_hour: ByDevice = {DEFAULT: 0.0}


@dataclass
class Bill:
    """What trials held, and what that costs. `add` each trial once.

    Seconds in which a machine waits, and those of trials that failed, are in no trial's provenance, so in no bill.
    gpu_hours: of whole GPUs; a trial that holds a quarter of one for an hour adds 0.25. core_hours: CPU threads of
    trials that hold no GPU. cost: of the trials whose device has a price. unpriced: names of the devices without.
    """

    prices: Prices | None = None
    seconds: float = 0.0
    gpu_hours: float = 0.0
    core_hours: float = 0.0
    cost: float = 0.0
    unpriced: dict[str, None] = field(default_factory=dict)

    def add(self, made: Mapping[str, Any]) -> None:
        """made: columns of `schema.PROVENANCE` of a trial."""
        gpus, wall_s = gpus_held(made), made.get("wall_s") or 0.0
        hours = (gpus or made.get("threads") or 1) * wall_s / _HOUR
        self.seconds += wall_s
        if gpus:
            self.gpu_hours += hours
        else:
            self.core_hours += hours
        if self.prices:
            table = self.prices.gpu_hour if gpus else self.prices.core_hour
            device = made.get("device") or "unknown"
            price = table.get(device, table.get(DEFAULT))
            if price is None:
                self.unpriced[device] = None
            self.cost += hours * (price or 0.0)

    @property
    def currency(self) -> str | None:
        return self.prices.currency if self.prices else None

    @property
    def money(self) -> float | None:
        """The whole cost; None where no prices are given or a device has none."""
        return self.cost if self.prices and not self.unpriced else None

    def text(self) -> str:
        """The bill in a few words: `1.50 GPU-hours, 3.75 USD`."""
        hours = f"{_short(self.gpu_hours)} GPU-hours" if self.gpu_hours else f"{_short(self.core_hours)} core-hours"
        if not self.prices:
            return hours
        if self.unpriced:
            return f"{hours}, no price for {', '.join(repr(name) for name in self.unpriced)}"
        return f"{hours}, {_short(self.cost)} {self.currency}"

    def __add__(self, other: "Bill") -> "Bill":
        """Of both; the prices are the same."""
        return Bill(
            self.prices,
            self.seconds + other.seconds,
            self.gpu_hours + other.gpu_hours,
            self.core_hours + other.core_hours,
            self.cost + other.cost,
            self.unpriced | other.unpriced,
        )

    def times(self, factor: float) -> "Bill":
        """The bill of the same work done so many times."""
        seconds, gpus, cores, cost = (factor * x for x in (self.seconds, self.gpu_hours, self.core_hours, self.cost))
        return Bill(self.prices, seconds, gpus, cores, cost, dict(self.unpriced))


def _short(amount: float) -> str:
    """Two decimals, or two digits of a little."""
    return f"{amount:.2f}" if amount >= 0.1 or not amount else f"{amount:.2g}"


def bill(made: Iterable[Mapping[str, Any]], prices: Prices | None) -> Bill:
    """The bill of trials; none may be there twice."""
    found = Bill(prices)
    for trial in made:
        found.add(trial)
    return found


def prices_of(about: Mapping[str, Any]) -> Prices | None:
    """The prices in what `suite_description.describe` says of a suite; None where it has none. Raises SpecError."""
    kept = about.get("prices")
    return None if kept is None else Prices.parse(kept, ("prices",))


def gpus_held(made: Mapping[str, Any]) -> float:
    """GPUs a trial held. Before shares were kept, a trial on a GPU held a whole one."""
    gpus = made.get("gpus")
    return float(gpus) if gpus is not None else float((made.get("gpu_s") or 0.0) > 0)
