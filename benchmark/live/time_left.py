"""Forecasts how long the rest of a suite takes, from the trials that were measured; for plan, live view and status."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmark.planning.costs import ASSUMED_GPU_FLOPS
from benchmark.planning.prices import Bill, Prices

if TYPE_CHECKING:
    from benchmark.planning.plan import Node

_LEAST_COST = 1e9
"""Operations that a trial counts as at the least: reading and writing takes its time too."""


@dataclass(frozen=True)
class Work:
    """What the forecast needs of a trial. cost: operations, see `costs`. parents: keys of the trials it waits for."""

    key: str
    stage: str
    method: str
    cost: float
    parents: tuple[str, ...] = ()

    @property
    def operations(self) -> float:
        return max(self.cost, _LEAST_COST)


@dataclass
class Rate:
    """How fast the measured trials of a kind were."""

    trials: int = 0
    operations: float = 0.0
    seconds: float = 0.0

    def add(self, operations: float, seconds: float) -> None:
        self.trials += 1
        self.operations += operations
        self.seconds += seconds


@dataclass
class Measured:
    """What trials took and cost, by kind. `add` each finished trial once."""

    prices: Prices | None = None
    kinds: dict[tuple[str, str], Rate] = field(default_factory=lambda: defaultdict(Rate))
    stages: dict[str, Rate] = field(default_factory=lambda: defaultdict(Rate))
    all: Rate = field(default_factory=Rate)
    bills: dict[str, Bill] = field(default_factory=dict)
    bill: Bill = field(init=False)

    def __post_init__(self) -> None:
        self.bill = Bill(self.prices)

    def add(self, work: Work, made: Mapping[str, Any]) -> None:
        """made: columns of `schema.PROVENANCE`."""
        for rate in (self.kinds[work.stage, work.method], self.stages[work.stage], self.all):
            rate.add(work.operations, made.get("wall_s") or 0.0)
        for bill in (self.bill, self.bills.setdefault(work.stage, Bill(self.prices))):
            bill.add(made)

    def seconds(self, work: Work) -> float:
        """What a trial will take: at the rate of its stage and method, else of its stage, else of all measured trials.

        Where nothing was measured, at that of an assumed GPU.
        """
        kind, stage = self.kinds.get((work.stage, work.method)), self.stages.get(work.stage)
        for rate in (kind, stage, self.all):
            if rate is not None and rate.trials:
                return work.operations * rate.seconds / rate.operations
        return work.operations / ASSUMED_GPU_FLOPS

    def expected(self, *others: "Forecast") -> Bill:
        """The bill with other trials, if a second of theirs costs what one of its stage, or else of all, did so far."""
        found = self.bill.times(1.0)
        for stage, seconds in (item for other in others for item in other.by_stage.items()):
            done = self.bills.get(stage, self.bill)
            if done.seconds:
                found += done.times(seconds / done.seconds)
        return found


@dataclass(frozen=True)
class Forecast:
    """What is left. work_s: seconds of work, one trial after the other. chain_s: of the longest chain of trials.

    seconds: until the end, with so many slots: no less than the work divided by them, and no less than the chain.
    measured: from trials that were measured, not from an assumed GPU. by_stage: stage -> seconds of work left.
    """

    work_s: float
    chain_s: float
    slots: int
    measured: bool
    by_stage: Mapping[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return max(self.work_s / max(1, self.slots), self.chain_s)


def forecast(
    left: Sequence[Work], measured: Measured, slots: int, spent: Mapping[str, float] | None = None
) -> Forecast:
    """Forecast what is left of a suite.

    left: the trials to run, parents first, each once. slots: trials side by side. spent: key -> seconds that a trial
    that runs now has run already.
    """
    chains: dict[str, float] = {}
    by_stage: dict[str, float] = defaultdict(float)
    for work in left:
        seconds = measured.seconds(work)
        if spent and work.key in spent:
            seconds = max(0.0, seconds - spent[work.key])
        by_stage[work.stage] += seconds
        chains[work.key] = seconds + max((chains.get(parent, 0.0) for parent in work.parents), default=0.0)
    longest = max(chains.values(), default=0.0)
    return Forecast(sum(by_stage.values()), longest, slots, measured.all.trials > 0, dict(by_stage))


def of_plan(nodes: Iterable["Node"]) -> list[Work]:
    """The trials of a plan, each once: models share some, which it names once a model."""
    found = {
        node.key: Work(node.key, node.stage, node.method, node.cost, tuple(node.trial.inputs.values()))
        for node in nodes
    }
    return list(found.values())


def of_manifest(nodes: Iterable[Mapping[str, Any]]) -> list[Work]:
    """As `of_plan`, from the record that `Store.write_plan` kept."""
    found = {
        node["key"]: Work(
            node["key"], node["stage"], node["method"], node["cost"], tuple(node["trial"]["inputs"].values())
        )
        for node in nodes
    }
    return list(found.values())
