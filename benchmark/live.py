"""What a person sees of a run: a progress bar, what runs now, what went wrong; the ranking at the end."""

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from benchmark import costs, registry
from benchmark.plan import Node, Plan
from benchmark.results import SuiteResults
from benchmark.schedule import Event, Report

_MOST_RUNNING = 8
_WIDE = 110
"""Columns of a terminal from which on an interval fits beside its value."""


def label(node: Node) -> str:
    """A trial for people: `train small-resnet/0`."""
    who = node.model if node.replica is None else f"{node.model}/{node.replica}"
    return " ".join(part for part in (node.stage, node.method, who) if part)


class Follower:
    """Takes the events of a run. On a terminal a live view; elsewhere a line a finished trial."""

    def __init__(self, console: Console, plan: Plan) -> None:
        self._console = console
        self._running: dict[str, str] = {}
        self._progress = Progress(
            TextColumn("{task.fields[done]}/{task.fields[total_trials]} trials"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f}% of the work"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._progress.add_task("", total=None, done=0, total_trials=len({n.key for n in plan.nodes}))
        self._plan = plan
        self._live = Live(console=console, get_renderable=self._view, refresh_per_second=4, transient=True)

    def __enter__(self) -> "Follower":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def __call__(self, event: Event) -> None:
        node = event.node
        name = label(node) if node else ""
        if event.kind == "begun":
            costs = {n.key: max(n.cost, 1e9) for n in self._plan.nodes}
            share = event.num_left / max(1, event.num_total)
            self._progress.update(self._task, total=sum(costs.values()) * share, done=event.num_done)
            if event.num_left:
                self._say(f"{event.num_done} of {event.num_total} trials are done already; {event.num_left} to run")
        elif event.kind == "started" and node:
            self._running[node.key] = name
        elif event.kind == "problem":
            self._say(f"[yellow]problem[/] {_plain(event.message)}")
        if node and event.kind in ("finished", "failed", "retried", "skipped"):
            self._running.pop(node.key, None)
            self._progress.update(self._task, advance=max(node.cost, 1e9), done=event.num_done)
            self._report(event, name)

    def _report(self, event: Event, name: str) -> None:
        last = event.message.strip().splitlines()[-1:] or [""]
        if event.kind == "finished":
            if not self._console.is_terminal:
                self._say(f"[{event.num_done}/{event.num_total}] {name}  {event.wall_s:.1f} s", markup=False)
        else:
            colour = "red" if event.kind == "failed" else "yellow"
            self._say(f"[{colour}]{event.kind}[/] {_plain(name)}: {_plain(last[0])}")

    def _say(self, text: str, markup: bool = True) -> None:
        self._console.print(text, markup=markup, highlight=False, soft_wrap=True)

    def _view(self) -> RenderableType:
        names = list(self._running.values())
        lines = [Text(f"  {name}", style="dim") for name in names[:_MOST_RUNNING]]
        return Group(self._progress, *lines)


_RANKED = {
    "clean": "clean_accuracy",
    "robust": "robust_accuracy",
    "recognised": "evaluator_accuracy",
    "in rate": "in_rate",
    "membership AUC": "membership_auc",
}


def ranking(rows: list[Mapping[str, Any]], width: int) -> Table:
    """The leaderboard of one suite, most robust first, for a terminal so wide; 80 columns are enough."""
    title = Text(f"suite {rows[0]['suite']}: most robust first; 95% intervals")
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("model", overflow="fold")
    for name in _RANKED:
        table.add_column(name, justify="right")
    gap = " " if width >= _WIDE else "\n"
    for row in sorted(rows, key=lambda row: -(row["robust_accuracy"] or 0.0)):
        table.add_row(Text(row["model"]), *(_rate(row, name, gap) for name in _RANKED.values()))
    return table


def controls(rows: list[Mapping[str, Any]]) -> Text:
    """Whether the suite's measures can be believed. rows: of results.parquet, stage `control`, metric `passed`."""
    failed: dict[str, list[str]] = {}
    for row in rows:
        if row["value"] != 1.0:
            failed.setdefault(f"{row['method']} (expected {row['note']}) in", []).append(row["space"])
    if not rows:
        return Text("controls: not measured yet")
    if not failed:
        return Text("controls: passed")
    which = "; ".join(f"{control} {', '.join(spaces)}" for control, spaces in failed.items())
    return Text.assemble(("controls: FAILED, do not believe an in_rate of these spaces: ", "red"), which)


def closing(report: Report) -> str:
    """The run in a line."""
    text = "interrupted, run again to go on: " if report.interrupted else ""
    text += (
        f"{report.num_executed} trials run, {report.num_cached} there before, {report.num_failed} failed, "
        f"{report.num_skipped} not run; {report.wall_s:.1f} s"
    )
    if report.num_executed:
        text += f" for {report.trial_wall_s:.1f} s of compute"
    return text


def _rate(row: Mapping[str, Any], name: str, gap: str) -> Text:
    if row[name] is None:
        return Text("-")
    return Text(f"{row[name]:.3f}{gap}") + Text(f"{row[f'{name}_low']:.2f}-{row[f'{name}_high']:.2f}", "dim")


def _plain(text: str) -> str:
    """Text that rich shows as it is, brackets too."""
    from rich.markup import escape

    return escape(text)


def planned(plan: Plan, walls: Mapping[str, float]) -> list[RenderableType]:
    """`bench plan`: trials by stage, and what the missing ones will cost at the rate of those done.

    walls: key -> seconds of the trials that are done.
    """
    nodes = list({node.key: node for node in plan.nodes}.values())
    table = Table(title=f"suite {plan.suite}: {len(nodes)} trials", title_justify="left")
    for name in ("stage", "trials", "done", "to run", "work left (TFLOP)"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    for stage in dict.fromkeys(node.stage for node in nodes):
        own = [node for node in nodes if node.stage == stage]
        left = [node for node in own if node.key not in walls]
        work = sum(node.cost for node in left) / 1e12
        table.add_row(stage, str(len(own)), str(len(own) - len(left)), str(len(left)), f"{work:.2f}")
    work = sum(node.cost for node in nodes if node.key not in walls)
    measured = sum(node.cost for node in nodes if node.key in walls)
    if not work:
        return [table, Text("nothing to run")]
    if not measured:
        hours = work / costs.ASSUMED_GPU_FLOPS / 3600
        assumed = f"{hours:.2g} GPU-hours at an assumed {costs.ASSUMED_GPU_FLOPS / 1e12:.0f} TFLOP/s"
        return [table, Text(f"about {work / 1e12:.1f} TFLOP: {assumed}; none of these trials was measured here yet")]
    seconds = work * sum(walls.values()) / measured
    return [table, Text(f"about {seconds:.0f} s of compute left, at the rate of the {len(walls)} trials done")]


def standing(results: SuiteResults) -> list[RenderableType]:
    """`bench status`: a suite's counts and every failure with its reason."""
    states = {status["trial_key"]: status for status in results.status}
    counts = {s: sum(status["state"] == s for status in states.values()) for s in ("done", "failed", "missing")}
    lines: list[RenderableType] = [
        Text(f"suite {results.name}: {len(states)} trials, " + ", ".join(f"{n} {name}" for name, n in counts.items()))
    ]
    for status in states.values():
        if status["state"] == "failed":
            who = " ".join(
                str(status[k]) for k in ("stage", "method", "model", "replica") if status[k] not in ("", None)
            )
            lines.append(Text(f"  failed {who}: {status['error']}"))
            lines.append(Text(f"    traceback: {results.store.root / 'failures' / status['trial_key']}.json", "dim"))
    return lines


def methods() -> Table:
    """`bench list`: every registered method, what it is and where it is from."""
    table = Table(title="registered methods", title_justify="left")
    for name in ("kind", "method", "what it is", "source"):
        table.add_column(name, overflow="fold")
    for kind, names in registry.KINDS.items():
        if kind == "stage":
            continue
        for name in names:
            method = registry.lookup(kind, name)
            what = (method.__doc__ or "").strip().splitlines()[0]
            table.add_row(kind, name, Text(what), Text(method.SOURCE))
    return table
