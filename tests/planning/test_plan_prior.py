"""What an attack learns from auxiliary images is one trial of its own, whatever is attacked."""

from pathlib import Path
from typing import Any

import command
import pytest

from benchmark.models.classifier import InputInfo
from benchmark.planning.costs import Sizes
from benchmark.planning.plan import Node, Plan, build_plan
from benchmark.planning.suite import parse_suite
from benchmark.results.store import Store

SIZES = Sizes(InputInfo(1, 28, 28, 3, (0.3,), (0.3,)), 330, 2970, 300, 120)
DCGAN = {"method": "dcgan", "width": 4, "latent": 8, "steps": 5, "batch_size": 16}
GENERATOR = {"method": "generator", "steps": 12, "candidates": 2, "samples_per_class": 4, "prior": DCGAN}
GRADIENT = {"method": "gradient", "steps": 60, "samples_per_class": 4}


def plan(*attacks: dict[str, Any], edits: tuple[tuple[str, Any], ...] = ()) -> Plan:
    return build_plan(parse_suite(command.tiny(("inversion", list(attacks)), *edits)), "f" * 64, SIZES)


def found(made: Plan, **labels: Any) -> list[Node]:
    return [node for node in made.nodes if all(getattr(node, k) == v for k, v in labels.items())]


def test_one_prior_serves_all_models_and_replicas() -> None:
    made = plan(GENERATOR)
    (prior,) = found(made, stage="fit_prior")
    assert set(prior.trial.inputs) == {"pools"} and prior.model == "" and prior.cost > 0
    attacks = found(made, stage="invert", method="generator")
    assert {(node.model, node.replica) for node in attacks} == {(m, r) for m in ("softmax", "hardened") for r in (0, 1)}
    assert {node.trial.inputs["prior"] for node in attacks} == {prior.key}
    assert len({node.key for node in attacks}) == 4
    assert made.nodes.index(prior) < made.nodes.index(attacks[0])


def test_its_key_hangs_on_its_own_settings_and_the_pools_alone() -> None:
    (prior,) = found(plan(GENERATOR), stage="fit_prior")
    same = plan({**GENERATOR, "steps": 40, "lr": 0.2}, edits=(("models.1.regime.epochs", 3), ("replicas", 4)))
    assert {node.key for node in found(same, stage="fit_prior")} == {prior.key}
    twice = plan(GENERATOR, {**GENERATOR, "steps": 0})
    assert {node.key for node in found(twice, stage="fit_prior")} == {prior.key}
    for other in (plan({**GENERATOR, "prior": {**DCGAN, "steps": 6}}), plan(GENERATOR, edits=(("seed", 1),))):
        assert prior.key not in {node.key for node in found(other, stage="fit_prior")}


def test_controls_run_under_an_attack_that_can_reach_members() -> None:
    """The first attack without a prior; where the suite has none, the default gradient attack."""
    before = {node.key for node in plan(GRADIENT).nodes}
    assert before < {node.key for node in plan(GENERATOR, GRADIENT).nodes}
    for made, steps in ((plan(GENERATOR, GRADIENT), 60), (plan(GENERATOR), 200)):
        for model in ("memoriser", "untrained"):
            controls = found(made, stage="invert", model=model)
            assert [node.method for node in controls] == ["gradient"] * 2
            assert {node.trial.stage["attack"]["steps"] for node in controls} == {steps}
            assert {node.trial.stage["attack"]["samples_per_class"] for node in controls} == {4}


def test_what_the_prior_shows_alone_is_a_row_of_every_replica() -> None:
    alone = found(plan(GENERATOR), stage="leakage", method="generator_alone")
    assert [(node.model, node.replica) for node in alone] == [("injected", 0), ("injected", 1)]
    assert not found(plan(GRADIENT), method="generator_alone")


@pytest.mark.slow
def test_a_new_model_and_a_second_run_train_no_prior_again(tmp_path: Path) -> None:
    """A small run: the budget as counted, and what is done for the next model."""
    suite = command.write(tmp_path, command.tiny(("inversion", [GENERATOR])))
    arguments = ("run", suite, *command.ONE, "--results", tmp_path / "results", "--site", tmp_path / "site")
    first = command.call(*arguments, "--only", "softmax")  # controls are not in question here
    assert first.exit_code == 0 and "fit_prior" in first.stdout, first.stdout + first.stderr
    second = command.call(*arguments, "--only", "hardened")
    assert second.exit_code == 0 and "invert generator hardened/1" in second.stdout, second.stdout + second.stderr
    assert "fit_prior" not in second.stdout
    store = Store(tmp_path / "results")
    rows = [row for key in store.keys() for row in store.rows(key).to_pylist()]
    assert [row["value"] for row in rows if row["metric"] == "passes_per_sample"] == [12.0] * 4
    assert "0 trials run" in command.call(*arguments, "--only", "softmax", "--only", "hardened").stdout
