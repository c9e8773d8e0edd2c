"""What a suite may ask of curves and corruptions, and that asking for nothing changes nothing."""

from typing import Any

import command
import pytest
from tiny_plan import BASE, places, plan

from benchmark.data.corruptions import CORRUPTIONS
from benchmark.planning.suite import parse_suite
from benchmark.spec import SpecError

CURVES = {"linf": ["8/255", 0.1], "l2": [0.5]}
MISTAKES: list[tuple[str, Any, str]] = [
    ("curves", {}, "curves: no radii; allowed: a list of them for linf, l2 or both"),
    ("curves", {"l1": [1]}, "curves: unknown key 'l1'"),
    ("curves", {"linf": []}, "curves.linf: [] is not allowed: list should have at least 1 item"),
    ("curves", {"linf": [0.1, 0.1]}, "curves.linf[1]: 0.1 is not allowed; allowed: more than 0.1, as radii ascend"),
    ("curves", {"linf": [0]}, "curves.linf[0]: 0 is not allowed: input should be greater than 0"),
    ("curves", {"linf": [8]}, "curves.linf: 8 is not allowed; pixels are in [0, 1]: allowed: above 0, up to 1"),
    ("curves", {"linf": ["8/0"]}, "curves.linf[0]: '8/0' is neither a number nor a fraction"),
    ("curves", {"l2": [0.1], "steps": 0}, "curves.steps: 0 is not allowed"),
    ("corruptions", "some", "corruptions: 'some' is not"),
    (
        "corruptions",
        ["fgo"],
        "corruptions.names[0]: unknown corruption 'fgo' (did you mean 'fog'?)",
    ),
    ("corruptions", ["fog", "fog"], "corruptions.names[1]: 'fog' is there twice; allowed: once"),
    ("corruptions", [], "corruptions.names: [] is not allowed"),
    ("corruptions", {"severities": [0]}, "corruptions.severities[0]: 0 is not allowed; allowed: 1 to 5, each once"),
    ("corruptions", {"severities": [1, 1]}, "corruptions.severities[1]: 1 is not allowed; allowed: 1 to 5, each once"),
    ("corruptions", {"names": "all", "num_images": 0}, "corruptions.num_images: 0 is not allowed"),
]


@pytest.mark.parametrize(("key", "value", "message"), MISTAKES)
def test_a_mistake_is_one_line(key: str, value: Any, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_suite(command.tiny((key, value)))
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


def test_without_the_keys_nothing_changes() -> None:
    assert not {stage for stage, *_ in BASE} & {"robustness_curve", "corrupt"}
    asked = plan(("curves", CURVES), ("corruptions", "all"))
    assert BASE.items() <= places(asked).items(), "what was planned before keeps its key"
    assert parse_suite(command.tiny()).hash != parse_suite(command.tiny(("curves", CURVES))).hash


def test_a_trial_a_replica_that_reads_the_attacks_in_its_norms() -> None:
    made = plan(("curves", CURVES), ("corruptions", ["fog"]), ("evasion.1.norm", "linf"))
    found = {(node.stage, node.model, node.replica): node for node in made.nodes}
    of_curves = [node for node in made.nodes if node.stage == "robustness_curve"]
    assert len(of_curves) == 4 == len([node for node in made.nodes if node.stage == "corrupt"])
    assert all(node.cost > 0 and node.method == "fmn" for node in of_curves)
    trial = found["robustness_curve", "hardened", 1].trial
    assert trial.stage["epsilons"] == {"linf": [8 / 255, 0.1], "l2": [0.5]} and trial.stage["num_images"] == 100
    attacks = {role: key for role, key in trial.inputs.items() if role.startswith("evade")}
    own = places(made)
    labels = [("evade", method, "hardened", 1) for method in ("pgd-l2-0.5", "fgsm-linf-0.5")]
    assert attacks == {f"evade_{i}": own[place] for i, place in enumerate(labels)}
    alone = plan(("curves", {"l2": [0.5]}), ("evasion.1.norm", "linf"))
    inputs = next(node for node in alone.nodes if node.stage == "robustness_curve").trial.inputs
    assert set(inputs) == {"pools", "target", "evade_0"}, "an attack in another norm says nothing of these distances"


def test_fab_is_told_and_its_cost() -> None:
    fmn, fab = (
        next(node for node in plan(("curves", {**CURVES, "search": search})).nodes if node.stage == "robustness_curve")
        for search in ("fmn", "fab")
    )
    assert (fmn.method, fab.method) == ("fmn", "fab") and fmn.key != fab.key
    assert fab.cost == 3 * fmn.cost, "two rival classes, half as much again for forward passes"


def test_all_means_every_corruption_at_every_severity() -> None:
    for asked in ("all", {"names": "all"}, {}):
        suite = parse_suite(command.tiny(("corruptions", asked)))
        assert suite.corruptions is not None
        assert (suite.corruptions.names, suite.corruptions.severities) == (list(CORRUPTIONS), [1, 2, 3, 4, 5])


def test_no_more_images_than_the_attacks_get() -> None:
    made = plan(("curves", {**CURVES, "num_images": 500}), ("corruptions", {"num_images": 30}))
    sizes = {node.stage: node.trial.stage["num_images"] for node in made.nodes if "num_images" in node.trial.stage}
    assert (sizes["robustness_curve"], sizes["corrupt"]) == (100, 30)
