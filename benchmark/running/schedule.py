"""Decides what a run does next: which trials are ready, which start, and what follows when one ends."""

import contextlib
import heapq
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from benchmark.machine.durable_files import StoreFull
from benchmark.machine.interrupts import check
from benchmark.results.scan_cache import Seen
from benchmark.results.store import Store
from benchmark.running.executors import Executor, Finished
from benchmark.running.heartbeat import Heartbeat
from benchmark.running.retries import Retries

if TYPE_CHECKING:
    from benchmark.planning.plan import Node, Plan

EventKind = Literal["problem", "begun", "started", "finished", "failed", "retried", "skipped", "waiting", "elsewhere"]
LOOK_AGAIN_S = 3.0
"""Seconds until a trial that another driver runs is looked at again."""


@dataclass(frozen=True)
class Event:
    """One step of a run, for progress and logs.

    kind: "problem" (something foreign or truncated was set aside), "begun" (the run knows what it
    has to do), "started" (handed to the executor), "finished", "failed", "retried", "skipped", "elsewhere" (another
    driver runs it now); "waiting" comes at least once a second or two, whatever happens.
    made: what a finished trial ran on, see `executors.REPORTED`. slots: trials that can run side by side now.
    left: keys of the trials to run, when the run has begun.
    num_done of num_total trials of the plan have results; num_left are still to be computed.
    """

    kind: EventKind
    node: "Node | None" = None
    message: str = ""
    wall_s: float = 0.0
    made: Mapping[str, Any] = field(default_factory=dict)
    slots: int = 0
    left: Collection[str] = ()
    num_done: int = 0
    num_total: int = 0
    num_left: int = 0


@dataclass(frozen=True)
class Report:
    """How a run ended. num_done: trials of the plan with results now, cached ones too.

    trial_wall_s: seconds of the executed trials' own work, summed. interrupted: by Ctrl-C.
    """

    num_total: int
    num_done: int
    num_cached: int
    num_executed: int
    num_failed: int
    num_skipped: int
    trial_wall_s: float
    wall_s: float
    interrupted: bool = False


def priorities(plan: "Plan") -> dict[str, float]:
    """Key -> cost of the longest chain of trials that begins with it."""
    below: dict[str, float] = defaultdict(float)
    for node in reversed(plan.nodes):
        below[node.key] += node.cost
        for parent in node.trial.inputs.values():
            below[parent] = max(below[parent], below[node.key])
    return dict(below)


class Schedule:
    """The state of one run: what is done, ready, running; decides what comes next."""

    def __init__(
        self,
        plan: "Plan",
        store: Store,
        done: set[str],
        todo: set[str],
        on_event: Callable[[Event], None],
        seen: Seen,
    ) -> None:
        self._store, self._on_event, self._seen = store, on_event, seen
        self._nodes = {node.key: node for node in plan.nodes}
        self._children: dict[str, list[str]] = defaultdict(list)
        for node in plan.nodes:
            for parent in node.trial.inputs.values():
                self._children[parent].append(node.key)
        urgency = priorities(plan)
        self._rank = {node.key: (-urgency[node.key], index) for index, node in enumerate(plan.nodes)}
        self._done = done & self._nodes.keys()
        self._cached = set(self._done)
        self._left = set(todo)
        self._ready: dict[str, list[tuple[tuple[float, int], str]]] = defaultdict(list)  # a heap a stage
        self._running: set[str] = set()
        self._retries = Retries()
        self._healed: set[str] = set()
        self._elsewhere: dict[str, float] = {}  # key -> when to look again
        self._failed: set[str] = set()
        self._skipped: set[str] = set()
        self._num_executed, self._trial_wall_s, self._full, self._slots = 0, 0.0, False, 0
        self._since: dict[str, str] = {}
        self._tell("begun")

    def drive(self, executor: Executor, heartbeat: Heartbeat) -> None:
        """Keep the executor busy until nothing is left.

        Raises StoreFull, after what runs has ended, and KeyboardInterrupt between two steps.
        """
        for key in [key for key in self._nodes if key in self._left]:
            self._release(key)
        check()
        while self._feed(executor) or self._running or self._elsewhere:
            check()
            self._slots = executor.slots
            self._tell("waiting")
            heartbeat.beat([f"{self._label(key)} since {self._since[key]}" for key in sorted(self._running)])
            if not self._running:
                time.sleep(0.1)  # all that is left runs elsewhere
            # A growing cluster may have more slots after a second.
            for finished in executor.wait(timeout=1.0) if self._running else ():
                self._settle(finished)
            self._look_again()
            with contextlib.suppress(OSError, StoreFull):  # the next run looks at these trials itself
                self._seen.keep()
        if self._full:
            raise StoreFull(self._store.root)
        for key in [key for key in self._nodes if key in self._left]:
            missing = next(p for p in self._nodes[key].trial.inputs.values() if p not in self._done)
            self._skip(key, f"not run: {self._label(missing)} is missing")

    def _feed(self, executor: Executor) -> bool:
        """Submit what the executor wants, the longest path first; whether anything is left to submit."""
        while not self._full:
            heads = sorted((heap[0], heap) for heap in self._ready.values() if heap)
            if not heads:
                return False
            for (_, key), heap in heads:
                waits = self._can_run(key)
                if not waits or executor.wants(self._nodes[key].trial):
                    heapq.heappop(heap)
                    if waits:
                        self._submit(key, executor)
                    break
            else:
                return True
        return False

    def _submit(self, key: str, executor: Executor) -> None:
        room = self._retries.begin(key)
        self._running.add(key)
        self._since[key] = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        executor.submit(self._nodes[key].trial, room)
        self._tell("started", key)

    def report(self, wall_s: float, interrupted: bool) -> Report:
        return Report(
            num_total=len(self._nodes),
            num_done=len(self._done),
            num_cached=len(self._cached),
            num_executed=self._num_executed,
            num_failed=len(self._failed),
            num_skipped=len(self._skipped),
            trial_wall_s=self._trial_wall_s,
            wall_s=wall_s,
            interrupted=interrupted,
        )

    def _can_run(self, key: str) -> bool:
        waiting = key in self._left and key not in self._running and key not in self._elsewhere
        return waiting and self._done.issuperset(self._nodes[key].trial.inputs.values())

    def _release(self, key: str) -> None:
        if self._can_run(key):
            heapq.heappush(self._ready[self._nodes[key].stage], (self._rank[key], key))

    def _settle(self, finished: Finished) -> None:
        key = finished.key
        self._running.discard(key)
        if finished.elsewhere == "running":
            self._retries.take_back(key)
            self._elsewhere[key] = time.monotonic() + LOOK_AGAIN_S
            self._tell("elsewhere", key)
        elif finished.elsewhere == "done":
            self._cached.add(key)
            self._count_done(key)
            self._tell("finished", key, "by another run")
        elif finished.ok:
            self._num_executed += 1
            self._trial_wall_s += finished.wall_s
            self._count_done(key)
            self._seen.add(finished.signature)
            self._tell("finished", key, wall_s=finished.wall_s, made=finished.made)
        elif finished.full:
            self._full = True
            self._elsewhere.clear()
        elif finished.corrupt in self._nodes and key not in self._healed:
            self._heal(key, finished.corrupt)
        elif self._retries.again(finished):
            self._tell("retried", key, finished.error)
            self._release(key)
        else:
            self._fail(key, finished)

    def _count_done(self, key: str) -> None:
        self._left.discard(key)
        self._done.add(key)
        self._store.clear_failure(key)
        for child in self._children[key]:
            self._release(child)

    def _look_again(self) -> None:
        """Let workers see whether what ran elsewhere is done there, or was given up."""
        for key in [key for key, due in self._elsewhere.items() if time.monotonic() >= due]:
            del self._elsewhere[key]
            self._release(key)

    def _heal(self, key: str, parent: str) -> None:
        """The trial could not read its parent: compute the parent again, then the trial, once."""
        self._healed.add(key)
        reason = self._store.verify(parent) if parent in self._done else ""
        if reason:
            place = self._store.set_aside(parent, reason)
            self._done.discard(parent)
            self._cached.discard(parent)
            self._left.add(parent)
            self._tell("problem", parent, f"{reason}; set aside in {place}")
            self._release(parent)
        self._release(key)

    def _fail(self, key: str, finished: Finished) -> None:
        error = self._retries.explain(finished, self._label(key), self._nodes[key].trial.stage)
        self._store.write_failure(self._nodes[key], error, self._retries.attempts(key))
        self._left.discard(key)
        self._failed.add(key)
        self._tell("failed", key, error, finished.wall_s)
        below = list(self._children[key])
        while below:
            child = below.pop()
            if child in self._left and child not in self._running:
                self._skip(child, f"not run: {self._label(key)} failed")
                below += self._children[child]

    def _skip(self, key: str, message: str) -> None:
        self._left.discard(key)
        self._skipped.add(key)
        self._tell("skipped", key, message)

    def _label(self, key: str) -> str:
        node = self._nodes.get(key)
        if node is None:
            return f"trial {key[:12]}"
        replica = "" if node.replica is None else str(node.replica)
        return " ".join(part for part in (node.stage, node.method, node.model, replica) if part)

    def _tell(
        self,
        kind: EventKind,
        key: str = "",
        message: str = "",
        wall_s: float = 0.0,
        made: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        node = self._nodes.get(key)
        numbers = (len(self._done), len(self._nodes), len(self._left))
        left = frozenset(self._left) if kind == "begun" else ()
        self._on_event(Event(kind, node, message, wall_s, made, self._slots, left, *numbers))
