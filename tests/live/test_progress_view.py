"""What a run shows: worked out by hand, on a terminal of 80 columns and 24 lines, and where there is none."""

import io
from typing import Any

import pytest
import toy
from rich.console import Console

from benchmark.live import Follower, closing
from benchmark.live import progress_view as module
from benchmark.live.progress_view import duration, summary, view
from benchmark.live.run_state import Tracker
from benchmark.planning.plan import Node, Plan
from benchmark.planning.prices import Prices
from benchmark.running.schedule import Event, Report
from benchmark.trials.trial import Trial

H100 = "NVIDIA H100 80GB HBM3"
STAGES = (
    "pools", "train", "predict", "evade", "infer_membership", "invert", "neighbours", "leakage", "embed", "import",
    "fit_prior", "declare_members",
)  # fmt: skip


def node(stage: str, number: int, cost: float = 1e12, *parents: Node) -> Node:
    inputs = {f"p{i}": parent.key for i, parent in enumerate(parents)}
    trial = Trial({"method": stage}, number, inputs)
    return Node(trial, trial.key, stage, "", "model-with-a-name", number, cost)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Watched:
    """A tracker fed by hand. Everything is left at first."""

    def __init__(self, nodes: list[Node], host: str = "", prices: Prices | None = None) -> None:
        self.clock = Clock()
        self.tracker = Tracker(Plan("s", "h", tuple(nodes)), prices, (), host, self.clock)
        self.done = 0
        self.events = [self.event("begun", left={n.key for n in nodes}, num_left=len(nodes))]
        self.tracker.take(self.events[0])

    def event(self, kind: Any, node: Node | None = None, **fields: Any) -> Event:
        total = self.tracker.num_total
        values = {"num_left": total - self.done, **fields}
        return Event(kind, node, num_done=self.done, num_total=total, slots=2, **values)

    def start(self, node: Node) -> None:
        self.tracker.take(self.event("started", node))

    def finish(self, node: Node, wall_s: float, host: str = "aaaaaabbbbbb", gpus: float = 0.0, **made: Any) -> None:
        self.done += 1
        device = H100 if gpus else "a processor"
        made |= {"wall_s": wall_s, "gpu_s": wall_s if gpus else 0.0, "gpus": gpus, "host": host, "device": device}
        self.tracker.take(self.event("finished", node, wall_s=wall_s, made={"threads": 1, **made}))
        self.clock.now += 3.0  # forecasts are two seconds old at the most


def test_kinds_and_machines_and_time_and_money() -> None:
    trains = [node("train", i) for i in range(4)]
    evades = [node("evade", i, 2e12, trains[i]) for i in range(4)]
    run = Watched([*trains, *evades], prices=Prices.parse({"currency": "USD", "gpu_hour": 36.0}))
    for one in trains[:3]:
        run.start(one)
    run.finish(trains[0], 20.0, gpus=0.5, gpu_utilisation=0.87, gpu_memory_bytes=3 * 2**30)
    run.finish(trains[1], 40.0, "cccccc", gpus=0.5)
    run.start(evades[0])
    kinds = {kind.stage: kind for kind in run.tracker.kinds()}
    assert (kinds["train"].done, kinds["train"].running, kinds["train"].mean) == (2, 1, 30.0)
    assert (kinds["evade"].done, kinds["evade"].running, kinds["evade"].mean) == (0, 1, None)
    # A train takes 30 s, of which one has run for 6 s; an evade has twice its operations, so 60 s.
    assert kinds["train"].left_s == pytest.approx(24 + 30) and kinds["evade"].left_s == pytest.approx(4 * 60)
    # Two at a time: 294 / 2 = 147 s; the longest chain is 30 + 60 s.
    assert run.tracker.left().seconds == pytest.approx(147.0)
    assert run.tracker.bill.money == pytest.approx(60 * 0.5 * 36 / 3600)
    assert run.tracker.expected.money == pytest.approx((60 + 294) * 0.5 * 36 / 3600)
    assert run.tracker.share == pytest.approx(60 / 354)
    first, second = run.tracker.nodes()
    assert (first.host, first.done, first.seconds, first.busy) == ("cccccc", 1, 40.0, None)
    assert (second.busy, second.memory, list(second.devices)) == (0.87, 3 * 2**30, [H100])
    run.tracker.take(run.event("failed", evades[0], message="no"))
    kinds = {kind.stage: kind for kind in run.tracker.kinds()}
    assert (kinds["evade"].done, kinds["evade"].failed, kinds["evade"].running) == (0, 1, 0)
    assert "2/8 trials, 1 running, " in summary(run.tracker) and "0.30 USD so far" in summary(run.tracker)


def drawn(tracker: Tracker, width: int, height: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    console.print(view(tracker, width, height - 1))
    found: str = console.file.getvalue()  # type: ignore[attr-defined]
    return found.splitlines()


@pytest.fixture
def wide() -> Watched:
    """Twelve kinds of trials on eight machines, forty of them running."""
    nodes = [node(stage, i) for stage in STAGES for i in range(20)]
    run = Watched(nodes, prices=Prices.parse({"currency": "USD", "gpu_hour": 36.0, "core_hour": 0.1}))
    for i, one in enumerate(nodes[::4]):
        run.start(one)
        run.finish(one, 20.0 + i, f"{i % 8:06d}", 0.25, gpu_utilisation=0.5, gpu_memory_bytes=70 * 2**30)
    for one in nodes[1::6]:
        run.start(one)
    return run


@pytest.mark.parametrize(("width", "height"), [(80, 24), (60, 10), (132, 50), (80, 5), (80, 3)])
def test_it_fits_the_terminal(wide: Watched, width: int, height: int) -> None:
    lines = drawn(wide.tracker, width, height)
    assert len(lines) < height and max(len(line) for line in lines) <= width
    assert lines[0].startswith("60/240 trials") and "GPU-hours" in lines[1]


def test_the_most_important_is_there_in_80_columns_and_24_lines(wide: Watched) -> None:
    text = "\n".join(drawn(wide.tracker, 80, 24))
    assert "left" in text and "USD" in text
    assert "node (+3)" in text and "000007" in text and "50%" in text and "70.0 GiB" in text
    assert all(stage in text for stage in STAGES)
    assert "5/20" in text


def test_where_it_is_one_machine_its_running_trials_are_counted() -> None:
    one = node("train", 0)
    run = Watched([one], host="aaaaaabbbbbb")
    run.start(one)
    assert [(machine.host, machine.running) for machine in run.tracker.nodes()] == [("aaaaaabbbbbb", 1)]
    assert "aaaaaa" in "\n".join(drawn(run.tracker, 80, 24))


def test_without_a_terminal_it_is_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SUMMARY_S", 1e9)
    console = Console(file=io.StringIO(), width=132)
    nodes = [node("train", 0), node("train", 1)]
    run = Watched(nodes)
    follower = Follower(console, run.tracker)
    with follower:
        follower(run.events[0])
        run.done = 1
        follower(run.event("finished", nodes[0], wall_s=1.25, made={"wall_s": 1.25, "threads": 1}))
        follower(run.event("waiting"))
        monkeypatch.setattr(module, "_SUMMARY_S", 0.0)
        follower(run.event("waiting"))
        follower(run.event("failed", nodes[1], message="Traceback\n[bold]ValueError: no"))
    said = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert said[:2] == [
        "0 of 2 trials are done already; 2 to run",
        "[1/2] train model-with-a-name/0  1.2 s",
    ]
    assert said[2].startswith("1/2 trials, 0 running, ") and "so far" in said[2]
    assert said[3] == "failed train model-with-a-name/1: [bold]ValueError: no"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.26, "0.3 s"), (45, "45 s"), (120, "2 min"), (5400, "90 min"), (9000, "2.5 h"), (864000, "10 d")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_last_line_says_what_it_cost() -> None:
    one = node("train", 0)
    run = Watched([one], prices=Prices.parse({"currency": "USD", "gpu_hour": 2.0}))
    run.finish(one, 1800.0, gpus=0.5)
    report = Report(1, 1, 0, 1, 0, 0, 1800.0, 1801.0)
    assert closing(report, run.tracker.bill).endswith("1801.0 s for 1800.0 s of compute: 0.25 GPU-hours, 0.50 USD")


def test_a_plan_of_the_tests_is_tracked() -> None:
    plan = toy.diamonds(2)
    assert Tracker(plan).num_total == len(plan.nodes)
