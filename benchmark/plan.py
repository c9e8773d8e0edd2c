"""Suite -> Plan: the trials of a suite, parents first. Pure: reads no store and runs nothing."""

from dataclasses import dataclass

from benchmark.trial import Trial


@dataclass(frozen=True)
class Node:
    """A trial with its place in the suite. Labels are for people; they are in no key.

    model: empty for trials that all models share. replica: None likewise.
    cost: rough work, comparable within a plan.
    """

    trial: Trial
    key: str
    stage: str
    method: str
    model: str
    replica: int | None
    cost: float


@dataclass(frozen=True)
class Plan:
    """The trials of one suite in topological order; a key occurs once."""

    suite: str
    suite_hash: str
    nodes: tuple[Node, ...]
