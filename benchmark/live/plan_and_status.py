"""What `bench plan` and `bench status` print: trials done and missing, the time left, and the cost."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from benchmark.aggregation.suite_results import SuiteResults
from benchmark.live.lines import line
from benchmark.live.progress_view import duration
from benchmark.live.run_state import Machine
from benchmark.live.time_left import Forecast, Measured, Work, forecast, of_manifest, of_plan
from benchmark.planning.costs import ASSUMED_GPU_FLOPS
from benchmark.planning.plan import Plan
from benchmark.planning.prices import Prices, prices_of
from benchmark.results.older_versions import sentence


def planned(
    plan: Plan,
    done: Collection[str],
    made: Mapping[str, Mapping[str, Any]],
    slots: int = 1,
    prices: Prices | None = None,
) -> list[RenderableType]:
    """`bench plan`: trials by stage, and what the missing ones will cost at the speed of the finished ones.

    done: keys. made: key -> provenance of some of them. slots: trials side by side on this machine.
    """
    works = of_plan(plan.nodes)
    measured = _measured(works, made, prices)
    left = [work for work in works if work.key not in done]
    found = forecast(left, measured, slots)
    table = Table(title=line(f"suite {plan.suite}: {len(works)} trials", "table.title"), title_justify="left")
    for name in ("stage", "trials", "done", "to run", "work left (TFLOP)", "time left"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    totals, missing = Counter(work.stage for work in works), Counter(work.stage for work in left)
    operations: dict[str, float] = defaultdict(float)
    for one in left:
        operations[one.stage] += one.cost / 1e12
    for stage, total in totals.items():
        numbers = (str(total), str(total - missing[stage]), str(missing[stage]), f"{operations[stage]:.2f}")
        table.add_row(line(stage), *numbers, duration(found.by_stage.get(stage, 0.0)))
    if not left:
        return [table, line("nothing to run")]
    if not found.measured:
        hours, work = found.work_s / 3600, sum(operations.values())
        assumed = f"{hours:.2g} GPU-hours at an assumed {ASSUMED_GPU_FLOPS / 1e12:.0f} TFLOP/s"
        return [table, line(f"about {work:.1f} TFLOP: {assumed}; none of these trials was measured here yet")]
    unread = forecast([work for work in works if work.key in done and work.key not in made], measured, slots)
    of_those = f"{len(made)} of the {sum(totals.values()) - len(left)}" if unread.work_s else f"the {len(made)}"
    rates = f"{_left(found)}; at the rates of {of_those} trials done"
    return [table, line(rates), line(_money(measured, found, unread))]


def standing(results: SuiteResults, num_running: int = 0) -> list[RenderableType]:
    """`bench status`: a suite's counts, its trials by kind and by machine, what is left, every failure with its reason.

    num_running: trials that run now, of whatever suite; their number is taken for the slots.
    """
    states = {status["trial_key"]: status for status in results.status}
    counts = {s: sum(status["state"] == s for status in states.values()) for s in ("done", "failed", "missing")}
    told = ", ".join(f"{n} {name}" for name, n in counts.items())
    lines: list[RenderableType] = [line(f"suite {results.name}: {len(states)} trials, {told}")]
    lines += [*older_lines(results.older), *map(line, results.outdated)]
    works = of_manifest(results.manifest["nodes"])
    made = {done.key: done.made for done in results.done}
    measured = _measured(works, made, prices_of(results.about))
    left = [work for work in works if work.key not in made]
    found = forecast(left, measured, max(1, num_running))
    lines += [_kinds(works, states, measured, found), _machines(made.values())] if made else []
    if not left:
        lines.append(line(f"spent: {measured.bill.text()}"))
    elif found.measured:
        lines += [line(_left(found)), line(_money(measured, found))]
    for status in states.values():
        if status["state"] == "failed":
            names = ("stage", "method", "model", "replica")
            who = " ".join(str(status[name]) for name in names if status[name] not in ("", None))
            lines.append(line(f"  failed {who}: {status['error']}"))
            lines.append(line(f"    traceback: {results.store.root}/failures/{status['trial_key']}.json", "dim"))
    return lines


def older_lines(lines: Iterable[Mapping[str, Any]]) -> list[RenderableType]:
    """For `bench plan` and `bench status`: which methods have results of an older version."""
    return [line(told) for told in dict.fromkeys(map(sentence, lines))]


def _measured(works: Sequence[Work], made: Mapping[str, Mapping[str, Any]], prices: Prices | None) -> Measured:
    """What trials took."""
    measured = Measured(prices)
    for work in works:
        if work.key in made:
            measured.add(work, made[work.key])
    return measured


def _left(found: Forecast) -> str:
    text = f"about {duration(found.seconds)} left with {found.slots} at a time: "
    return text + f"{duration(found.work_s)} of compute left, of which {duration(found.chain_s)} in a row"


def _money(measured: Measured, left: Forecast, *unread: Forecast) -> str:
    """unread: trials that are done, and whose cost nobody looked up."""
    about = "about " if any(done.work_s for done in unread) else ""
    spent, end = measured.expected(*unread), measured.expected(left, *unread)
    return f"spent: {about}{spent.text()}; in the end about {end.text()}"


def _plain_table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2), header_style="bold")
    for name in names:
        table.add_column(name, justify="left" if name in ("kind of trial", "node", "device") else "right")
    return table


def _kinds(
    works: Sequence[Work], states: Mapping[str, Mapping[str, Any]], measured: Measured, found: Forecast
) -> Table:
    table = _plain_table("kind of trial", "done", "failed", "mean", "work left")
    totals = Counter(work.stage for work in works)
    counted = Counter((work.stage, states[work.key]["state"]) for work in works)
    for stage, total in totals.items():
        rate = measured.stages.get(stage)
        mean = duration(rate.seconds / rate.trials) if rate and rate.trials else "-"
        done, failed = f"{counted[stage, 'done']}/{total}", counted[stage, "failed"]
        table.add_row(line(stage), done, str(failed or "-"), mean, duration(found.by_stage.get(stage, 0.0)))
    return table


def _machines(made: Iterable[Mapping[str, Any]]) -> Table:
    machines: dict[str, Machine] = {}
    for trial in made:
        host = str(trial.get("host") or "")
        machines.setdefault(host, Machine(host)).add(trial)
    table = _plain_table("node", "done", "work", "device")
    for machine in sorted(machines.values(), key=lambda machine: -machine.seconds):
        devices = line("; ".join(name for name in machine.devices if name))
        table.add_row(line(machine.host[:6] or "?"), str(machine.done), duration(machine.seconds), devices)
    return table
