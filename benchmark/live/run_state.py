"""Keeps the state of a run as its events come in: by kind of trial, by machine, and what is left."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmark.live.time_left import Forecast, Measured, Work, forecast, of_plan
from benchmark.planning.plan import Node, Plan
from benchmark.planning.prices import Bill, Prices, gpus_held
from benchmark.running.schedule import Event

_LEAST_PERIOD_S = 2.0
_MOST_OF_THE_TIME = 0.05
ENDED = ("finished", "failed", "skipped")


def label(node: Node) -> str:
    """The name of a trial for people: `train small-resnet/0`."""
    who = node.model if node.replica is None else f"{node.model}/{node.replica}"
    return " ".join(part for part in (node.stage, node.method, who) if part)


@dataclass
class Machine:
    """One node of a run. busy, memory: of the last trials on it, where NVML answered."""

    host: str
    devices: dict[str, None] = field(default_factory=dict)
    running: int = 0
    done: int = 0
    seconds: float = 0.0
    busy: float | None = None
    memory: int | None = None

    def add(self, made: Mapping[str, Any]) -> None:
        device = str(made.get("device") or "")
        self.devices = {device: None, **self.devices} if gpus_held(made) else {**self.devices, device: None}
        self.done += 1
        self.seconds += made.get("wall_s") or 0.0
        if made.get("gpu_utilisation") is not None:
            self.busy = float(made["gpu_utilisation"])
        if made.get("gpu_memory_bytes") is not None:
            self.memory = int(made["gpu_memory_bytes"])


@dataclass
class Kind:
    """The trials of one stage. mean: seconds of those that were measured, None before any was."""

    stage: str
    total: int = 0
    done: int = 0
    failed: int = 0
    running: int = 0
    mean: float | None = None
    left_s: float = 0.0


class Tracker:
    """Takes the events of a run; knows nothing of terminals.

    measured: (key, provenance) of trials that were done before, for their rates; the bill is of this run alone.
    host: where every trial runs, if that is one machine; else empty, and a trial's machine is known when it ends.
    """

    def __init__(
        self,
        plan: Plan,
        prices: Prices | None = None,
        measured: Iterable[tuple[str, Mapping[str, Any]]] = (),
        host: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock, self._host = clock, host
        self.works = {work.key: work for work in of_plan(plan.nodes)}
        self.running: dict[str, tuple[str, float]] = {}
        self.machines: dict[str, Machine] = {}
        self.num_done, self.num_total, self.slots = 0, len(self.works), 1
        self._rates, self._spent = Measured(prices), Measured(prices)
        for key, made in measured:
            if key in self.works:
                self._rates.add(self.works[key], made)
        self._left: dict[str, Work] = {}
        self._failed: Counter[str] = Counter()
        self._totals = Counter(work.stage for work in self.works.values())
        self._forecast, self._forecast_at, self._pause = Forecast(0.0, 0.0, 1, False), float("-inf"), 0.0
        self._begun = clock()

    def take(self, event: Event) -> None:
        self.num_done, self.slots = event.num_done, event.slots or self.slots
        node = event.node
        if event.kind == "begun":
            self._left = {key: self.works[key] for key in self.works if key in event.left}
        if node is None:
            return
        if event.kind == "started":
            self.running[node.key] = (label(node), self._clock())
        elif event.kind in (*ENDED, "retried", "elsewhere"):
            self.running.pop(node.key, None)
        if event.kind == "problem":  # a finished trial was set aside, and is computed again
            self._left = {key: self.works[key] for key in self.works if key in self._left or key == node.key}
        elif event.kind in ENDED:
            self._left.pop(node.key, None)
        if event.kind == "failed":
            self._failed[node.stage] += 1
        elif event.kind == "finished" and event.made:
            self._rates.add(self.works[node.key], event.made)
            self._spent.add(self.works[node.key], event.made)
            host = str(event.made.get("host") or "")
            self.machines.setdefault(host, Machine(host)).add(event.made)

    @property
    def now(self) -> float:
        """The present time, on the clock of the times in `running`."""
        return self._clock()

    @property
    def elapsed_s(self) -> float:
        return self._clock() - self._begun

    @property
    def bill(self) -> Bill:
        """The bill of the trials that this run finished."""
        return self._spent.bill

    @property
    def expected(self) -> Bill:
        """The bill of this run when it ends."""
        return self._spent.expected(self.left())

    @property
    def share(self) -> float:
        """The share of this run's work that is done, in [0, 1]."""
        whole = self.bill.seconds + self.left().work_s
        return self.bill.seconds / whole if whole else 0.0

    def left(self) -> Forecast:
        """The forecast of what is left, made anew every two seconds, or less often if it takes long."""
        now = self._clock()
        if now - self._forecast_at >= max(_LEAST_PERIOD_S, self._pause):
            begin = time.perf_counter()
            spent = {key: now - since for key, (_, since) in self.running.items()}
            self._forecast = forecast(list(self._left.values()), self._rates, self.slots, spent)
            self._forecast_at = now
            self._pause = (time.perf_counter() - begin) / _MOST_OF_THE_TIME
        return self._forecast

    def kinds(self) -> list[Kind]:
        """The kinds of trials, in the order of the suite."""
        left, forecasted = Counter(work.stage for work in self._left.values()), self.left().by_stage
        running = Counter(self.works[key].stage for key in self.running)
        found = []
        for stage, total in self._totals.items():
            rate = self._rates.stages.get(stage)
            mean = rate.seconds / rate.trials if rate and rate.trials else None
            done = total - left[stage] - self._failed[stage]
            seconds = forecasted.get(stage, 0.0)
            found.append(Kind(stage, total, done, self._failed[stage], running[stage], mean, seconds))
        return found

    def nodes(self) -> list[Machine]:
        """The machines that finished something, the busiest first; running trials where it is known where they run."""
        found = dict(self.machines)
        if self._host:
            here = found.setdefault(self._host, Machine(self._host))
            here.running = len(self.running)
        return sorted(found.values(), key=lambda machine: -machine.seconds)
