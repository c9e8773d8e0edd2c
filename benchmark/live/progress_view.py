"""The live view of a run on a terminal; elsewhere a line for each finished trial, and now and then a summary."""

import threading
import time
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from benchmark.live.lines import line
from benchmark.live.run_state import ENDED, Kind, Machine, Tracker, label
from benchmark.live.time_left import Forecast
from benchmark.running.schedule import Event

_SUMMARY_S = 30.0
_MOST_NODES = 5


class Follower:
    """Takes the events of a run and shows them. Use as a context manager."""

    def __init__(self, console: Console, tracker: Tracker) -> None:
        self._console, self._tracker = console, tracker
        self._lock = threading.Lock()  # never held while something is printed: rich has a lock of its own
        self._live = Live(console=console, get_renderable=self._view, refresh_per_second=4, transient=True)
        self._summed_at = time.monotonic()

    def __enter__(self) -> "Follower":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._tracker.take(event)
        if event.kind == "begun" and event.num_left:
            self._say(f"{event.num_done} of {event.num_total} trials are done already; {event.num_left} to run")
        elif event.kind == "problem":
            self._say("problem", event.message, "yellow")
        elif event.node and event.kind in (*ENDED, "retried"):
            self._report(event, label(event.node))
        if not self._console.is_terminal and event.num_left and time.monotonic() - self._summed_at >= _SUMMARY_S:
            self._summed_at = time.monotonic()
            with self._lock:
                text = summary(self._tracker)
            self._say(text)

    def _report(self, event: Event, name: str) -> None:
        if event.kind == "finished":
            if not self._console.is_terminal:
                took = event.message or f"{event.wall_s:.1f} s"
                self._say(f"[{event.num_done}/{event.num_total}] {name}  {took}")
        else:
            last = event.message.strip().splitlines()[-1:] or [""]
            colour = "red" if event.kind == "failed" else "yellow"
            self._say(event.kind, f"{name}: {last[0]}", colour)

    def _say(self, text: str, more: str = "", colour: str = "") -> None:
        told = line(text, colour)
        self._console.print(told + Text(" ") + line(more) if more else told, soft_wrap=True)

    def _view(self) -> RenderableType:
        with self._lock:
            return view(self._tracker, self._console.width, self._console.size.height - 1)


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.5 h`, `12 d`."""
    if seconds < 99.5:
        return f"{seconds:.0f} s" if seconds >= 9.5 or seconds == 0 else f"{seconds:.1f} s"
    if seconds < 99.5 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 100 * 3600 else f"{seconds / 86400:.0f} d"


def summary(tracker: Tracker) -> str:
    """The run in one line."""
    return (
        f"{tracker.num_done}/{tracker.num_total} trials, {len(tracker.running)} running, "
        f"{100 * tracker.share:.0f}% of the work; {remaining(tracker.left())}; {money(tracker)}"
    )


def remaining(left: Forecast) -> str:
    """The time left in words; "not known yet" while no trial of this run was measured."""
    return f"about {duration(left.seconds)} left" if left.measured else "time left not known yet"


def money(tracker: Tracker) -> str:
    """The run's bill now and at its end."""
    if not tracker.left().measured:
        return f"{tracker.bill.text()} so far"
    return f"{tracker.bill.text()} so far, {tracker.expected.text()} in the end"


def view(tracker: Tracker, width: int, height: int) -> RenderableType:
    """What fits into so many columns and lines: the run, the running trials, the machines, the kinds of trials."""
    left = tracker.left()
    head = Table.grid(padding=(0, 1))
    for _ in range(4):
        head.add_column(no_wrap=True, overflow="ellipsis")
    ending = f"{duration(tracker.elapsed_s)} gone, {remaining(left)}"
    bar = ProgressBar(total=1.0, completed=tracker.share, width=max(4, min(24, width - 56)))
    head.add_row(f"{tracker.num_done}/{tracker.num_total} trials", bar, f"{100 * tracker.share:.0f}%", ending)
    lines: list[RenderableType] = [head, line(money(tracker), cut=True)]
    room = height - 2
    machines = tracker.nodes()
    kinds = [kind for kind in tracker.kinds() if kind.done < kind.total] or tracker.kinds()
    num_nodes = min(len(machines), _MOST_NODES, max(1, room // 4))
    num_kinds = min(len(kinds), max(0, room - num_nodes - 4))
    if machines and room >= 2:
        lines.append(_nodes(machines, num_nodes))
        room -= 1 + num_nodes
    if num_kinds > 0:
        lines.append(_kinds(kinds[:num_kinds]))
        room -= 1 + num_kinds
    running = sorted(tracker.running.values(), key=lambda one: one[1])
    now = tracker.now
    for name, since in running[: max(0, room - 1)]:
        lines.append(line(f"  {duration(now - since):>6}  {name}", "dim", cut=True))
    return Group(*lines)


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in names:
        left = name in ("node", "device", "kind of trial")
        table.add_column(name, justify="left" if left else "right", no_wrap=True, overflow="ellipsis")
    return table


def _nodes(machines: list[Machine], number: int) -> Table:
    more = len(machines) - number
    table = _table("node" if not more else f"node (+{more})", "device", "running", "done", "GPU", "memory", "work")
    for machine in machines[:number]:
        cells: list[Any] = [line(machine.host[:6] or "?"), line("; ".join(name for name in machine.devices if name))]
        cells += [str(machine.running or "-"), str(machine.done)]
        cells += ["-" if machine.busy is None else f"{100 * machine.busy:.0f}%"]
        cells += ["-" if machine.memory is None else f"{machine.memory / 2**30:.1f} GiB", duration(machine.seconds)]
        table.add_row(*cells)
    return table


def _kinds(kinds: list[Kind]) -> Table:
    table = _table("kind of trial", "done", "failed", "running", "mean", "work left")
    for kind in kinds:
        mean = "-" if kind.mean is None else duration(kind.mean)
        done = f"{kind.done}/{kind.total}"
        cells = (done, str(kind.failed or "-"), str(kind.running or "-"), mean, duration(kind.left_s))
        table.add_row(line(kind.stage), *cells)
    return table
