"""Runs a plan on an executor: computes the trials that the store lacks, and records those that fail."""

import contextlib
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from benchmark.machine.durable_files import StoreFull
from benchmark.machine.interrupts import check, held
from benchmark.results.scan_cache import Seen
from benchmark.results.store import Store
from benchmark.running.executors import ExecutorFactory
from benchmark.running.heartbeat import Heartbeat, clear_dead, driver
from benchmark.running.schedule import Event, Report, Schedule
from benchmark.trials.trial import Settings
from benchmark.user_files import include

if TYPE_CHECKING:
    from benchmark.planning.plan import Plan

Rerun = Literal["missing", "failed", "all"]


def run(
    plan: "Plan",
    store: Store,
    executor_factory: ExecutorFactory,
    settings: Settings,
    *,
    rerun: Rerun = "missing",
    on_event: Callable[[Event], None] = lambda event: None,
) -> Report:
    """Compute the trials of `plan` that `store` lacks.

    rerun: "missing"; "failed", only trials with a recorded failure and those that depend on them; "all".
    Raises ValueError if the results folder cannot be written, StoreFull when its disk is full;
    what was finished before is kept.
    """
    begin = time.monotonic()
    store.writable()
    store.clear_stale()
    clear_dead(store.storage)
    seen = Seen(store.storage)
    done, problems = store.scan(seen)
    with contextlib.suppress(OSError, StoreFull):
        seen.gather()
    for problem in problems:
        place = store.set_aside(problem.name, problem.reason)
        on_event(Event("problem", message=f"{problem.name}: {problem.reason}; set aside in {place}"))
    sources = tuple(include.source(file) if isinstance(file, str) else file for file in settings.include)
    settings = replace(settings, results=str(store.root), include=sources, driver=driver(), again=rerun == "all")
    todo = select(plan, done, store.failures(), rerun)
    schedule = Schedule(plan, store, done - todo, todo, on_event, seen)
    interrupted = False
    if todo:
        try:
            # Ctrl-C is looked for between two steps: in the middle of one it would hit Ray, or a write.
            with held(), executor_factory(settings) as executor, Heartbeat(store.storage) as heartbeat:
                schedule.drive(executor, heartbeat)
            check()
        except KeyboardInterrupt:  # the workers are gone, the store has what was finished
            interrupted = True
    return schedule.report(time.monotonic() - begin, interrupted)


def select(plan: "Plan", done: Collection[str], failures: Collection[str], rerun: Rerun) -> set[str]:
    """The keys of the trials to compute."""
    if rerun == "all":
        return {node.key for node in plan.nodes}
    if rerun == "missing":
        return {node.key for node in plan.nodes if node.key not in done}
    chosen: set[str] = set()
    for node in plan.nodes:  # parents come first
        if node.key not in done and (node.key in failures or chosen.intersection(node.trial.inputs.values())):
            chosen.add(node.key)
    return chosen
