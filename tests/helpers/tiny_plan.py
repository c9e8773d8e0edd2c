"""The plan of the tiny suite for made-up data, and its keys."""

from collections.abc import Callable
from typing import Any

import command

from benchmark.models.classifier import InputInfo
from benchmark.planning.costs import Sizes
from benchmark.planning.plan import Node, Plan, build_plan
from benchmark.planning.suite import parse_suite

SIZES = Sizes(InputInfo(1, 28, 28, 3, (0.3,), (0.3,)), 330, 2970, 300, 120)


def plan(*edits: tuple[str, Any], fingerprint: str = "f" * 64) -> Plan:
    return build_plan(parse_suite(command.tiny(*edits)), fingerprint, SIZES)


def keys(made: Plan, keep: Callable[[Node], bool] = lambda node: True) -> set[str]:
    return {node.key for node in made.nodes if keep(node)}


def places(made: Plan) -> dict[tuple[str, str, str, int | None], str]:
    return {(node.stage, node.method, node.model, node.replica): node.key for node in made.nodes}


BASE = places(plan())
