"""A plan in the results folder: equal stages once, and everything there again when it is read."""

import json
from typing import Any

import command
import pytest
from tiny_plan import SIZES

from benchmark.planning.plan import build_plan
from benchmark.planning.suite import parse_suite
from benchmark.results.plan_record import pack, sound, unpack

PLAN = build_plan(parse_suite(command.tiny(("replicas", 4))), "f" * 64, SIZES)
NODES = [
    {name: getattr(node, name) for name in ("key", "stage", "method", "model", "replica", "cost")}
    | {"trial": node.trial.to_json()}
    for node in PLAN.nodes
]


def test_what_is_packed_comes_back_whole_and_in_order() -> None:
    packed = pack(PLAN, {"yaml": "a: 1\n", "replicas": 4})
    assert unpack(json.loads(packed)) == {
        "suite": "tiny", "suite_hash": PLAN.suite_hash, "about": {"yaml": "a: 1\n", "replicas": 4}, "nodes": NODES,
    }  # fmt: skip
    assert len(packed) < len(json.dumps(NODES)) / 3


def test_part_of_a_plan_keeps_the_inputs_that_are_not_in_it() -> None:
    part = type(PLAN)(PLAN.suite, PLAN.suite_hash, PLAN.nodes[-3:])
    assert unpack(json.loads(pack(part, {})))["nodes"] == NODES[-3:]


def test_the_older_form_still_reads() -> None:
    old = {"record": "plans", "suite": "tiny", "suite_hash": PLAN.suite_hash, "about": {}, "nodes": NODES}
    assert unpack(old)["nodes"] == NODES and sound(old)


@pytest.mark.parametrize(
    "edit",
    [
        {"keys": []},
        {"keys": None},
        {"nodes": {}},
        {"nodes": [{}]},
        {"nodes": 3},
        {"trials": {"stage": [0], "seed": [], "roles": [], "inputs": []}},
        {"stages": []},
        {"suite": None, "about": None, "roles": 7},
    ],
)
def test_what_is_neither_form_is_said_to_be_none(edit: dict[str, Any]) -> None:
    damaged = {**json.loads(pack(PLAN, {})), **edit}
    assert not sound(damaged) and sound(json.loads(pack(PLAN, {})))
    with pytest.raises(ValueError, match="not the record of a plan"):
        unpack(damaged)
