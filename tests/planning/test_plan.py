"""What changes a number changes a key, and nothing else does."""

import hashlib
from pathlib import Path
from typing import Any

import command
import pytest
from tiny_plan import BASE, SIZES, keys, places, plan

from benchmark.planning.check import prepare
from benchmark.planning.plan import build_plan
from benchmark.planning.suite import parse_suite
from benchmark.registry import canonical
from benchmark.spec import SpecError
from benchmark.trials.trial import Trial


def changed(*edits: tuple[str, Any], fingerprint: str = "f" * 64) -> set[tuple[str, str]]:
    """(stage, model) of the trials whose key an edit changes; the suite keeps its places."""
    before, after = places(plan()), places(plan(*edits, fingerprint=fingerprint))
    assert len(before) == len(plan().nodes)
    return {(place[0], place[2]) for place in before if after.get(place) != before[place]}


EVERYTHING = {(place[0], place[2]) for place in BASE}
CONTROLS = {"untrained", "injected", "memoriser"}


def test_parents_come_first_and_every_input_is_in_the_plan() -> None:
    seen: set[str] = set()
    for node in plan().nodes:
        assert seen.issuperset(node.trial.inputs.values()), node
        assert node.key == node.trial.key and node.cost >= 0
        seen.add(node.key)


def test_the_tiny_plan_counted_by_hand() -> None:
    stages = [stage for stage, _, _, _ in BASE]
    # 2 models and 2 controls that are trained, 2 replicas each, and 2 evaluators
    assert stages.count("train") == 10 and stages.count("embed") == 2 and stages.count("pools") == 1
    assert (
        stages.count("predict") == stages.count("probe") == 4
        and stages.count("evade") == 8
        and stages.count("infer_membership") == 4
    )
    # 2 models, memoriser, untrained and 4 injected, 2 replicas each
    assert stages.count("invert") == stages.count("neighbours") == stages.count("leakage") == 16
    assert stages.count("query") == 4 and stages.count("embed_auxiliary") == 0
    assert stages.count("memorization") == 2
    assert len(stages) == 87


def test_the_order_of_keys_the_name_and_the_threads_change_no_key() -> None:
    suite = command.tiny()
    backwards = {name: suite[name] for name in reversed(suite)}
    backwards["models"] = [dict(reversed(model.items())) for model in suite["models"]]
    assert keys(build_plan(parse_suite(backwards), "f" * 64, SIZES)) == keys(plan())
    assert changed(("name", "another"), ("threads", 2), ("evasion.0.epsilon", "1/2")) == set()
    renamed = plan(("models.0.name", "renamed"))
    assert keys(renamed) == keys(plan()) and {node.model for node in renamed.nodes} >= {"renamed", "hardened"}


def test_paths_labels_and_sizes_change_no_key(tmp_path: Path) -> None:
    here, there = (command.write(tmp_path / name, command.tiny()) for name in ("here", "there"))
    found = [prepare(str(path), root, ()).plan for path, root in [(here, None), (there, str(tmp_path))]]
    assert keys(found[0]) == keys(found[1])
    assert found[0].suite_hash == found[1].suite_hash


OF_HARDENED = {(stage, model) for stage, model in EVERYTHING if model == "hardened"}
WITH_INVERSION = {
    (stage, model)
    for stage, model in EVERYTHING
    if stage in ("invert", "neighbours", "leakage") and model != "injected"
}
NUMBERS: list[tuple[str, Any, set[tuple[str, str]]]] = [
    ("seed", 1, EVERYTHING),
    ("pools.auxiliary", 0.2, EVERYTHING),
    ("pools.num_members", 200, EVERYTHING),
    ("pools.num_test", 90, EVERYTHING),
    ("pools.num_classes", 4, EVERYTHING),
    ("pools.duplicate_cosine", 0.9, EVERYTHING),
    ("models.1.regime.epochs", 3, OF_HARDENED),
    ("models.1.regime.lr", 0.05, OF_HARDENED),
    ("models.1.regime.epsilon", 0.25, OF_HARDENED),
    ("models.1.regime.steps", 2, OF_HARDENED),
    ("models.1.regime.norm", "linf", OF_HARDENED),
    ("models.1.regime.batch_size", 32, OF_HARDENED),
    ("models.1.regime.augment", True, OF_HARDENED),
    ("evasion.0.steps", 6, {("evade", "softmax"), ("evade", "hardened")}),
    ("evasion.0.restarts", 2, {("evade", "softmax"), ("evade", "hardened")}),
    ("evaluation.num_images", 90, {("evade", "softmax"), ("evade", "hardened")}),
    ("evaluation.num_members", 50, {("evade", "softmax"), ("evade", "hardened")}),
    ("evaluation.neighbours", 6, {(stage, model) for stage, model in EVERYTHING if stage in ("neighbours", "leakage")}),
    ("evaluation.shown_neighbours", 6, {(stage, model) for stage, model in EVERYTHING if stage == "leakage"}),
    ("inversion.0.steps", 61, WITH_INVERSION),
    ("inversion.0.step_size", 0.6, WITH_INVERSION),
    ("inversion.0.schedule", "cosine", WITH_INVERSION),
    ("inversion.0.start_std", 0.2, WITH_INVERSION),
    ("inversion.0.radius", 3, WITH_INVERSION),
]


@pytest.mark.parametrize(("path", "value", "expected"), NUMBERS, ids=[path for path, _, _ in NUMBERS])
def test_what_changes_a_number_changes_the_keys_that_hang_on_it(
    path: str, value: Any, expected: set[tuple[str, str]]
) -> None:
    assert changed((path, value)) == expected


def test_an_evaluator_changes_what_it_judges_and_no_attack() -> None:
    judged = {(s, m) for s, m in EVERYTHING if s in ("neighbours", "leakage")}
    of_all = {("train", ""), ("embed", "")}
    assert changed(("evaluators.standard.regime.epochs", 3)) == judged | of_all


def test_other_data_changes_everything() -> None:
    assert changed(fingerprint="0" * 64) == EVERYTHING


def test_more_replicas_keep_all_but_what_is_of_all_replicas() -> None:
    before, after = plan(), plan(("replicas", 4))
    lost = keys(before) - keys(after)
    assert lost == keys(before, lambda node: node.stage in ("infer_membership", "memorization"))
    trained = [node for node in after.nodes if node.stage == "train" and node.model == "hardened"]
    assert len({node.key for node in trained}) == 4


NEW = {"name": "new", "architecture": {"method": "small_resnet", "width": 4}, "regime": "standard"}


def test_a_model_more_keeps_the_keys_of_the_others() -> None:
    models = command.tiny()["models"]
    for more in ([NEW, *models], [*models, NEW]):
        assert keys(plan(("models", more))) > keys(plan())


def test_an_attack_more_keeps_all_keys() -> None:
    evasion = command.tiny()["evasion"]
    more = {"method": "fgsm", "norm": "linf", "epsilon": 0.1}
    assert keys(plan(("evasion", [*evasion, more]))) > keys(plan())


def test_only_takes_a_model_with_what_it_needs() -> None:
    part = plan().only(["softmax"])
    assert {node.model for node in part.nodes} == {"softmax", ""}
    # pools, evaluators, train, predict, probe, evade, query, membership, memorization, leakage
    assert len(part.nodes) == 1 + 4 + 2 + 2 + 2 + 4 + 2 + 2 + 1 + 6
    seen: set[str] = set()
    for node in part.nodes:
        assert seen.issuperset(node.trial.inputs.values())
        seen.add(node.key)
    with pytest.raises(SpecError, match=r"--only: unknown model 'sotfmax' \(did you mean 'softmax'\?\); allowed"):
        plan().only(["sotfmax"])


def test_models_that_share_a_recipe_share_their_trials() -> None:
    twin = {**command.tiny()["models"][1], "name": "twin"}
    models = [twin, *command.tiny()["models"]]
    both = plan(("models", models))
    assert keys(both) == keys(plan())
    assert {node.model for node in both.only(["twin"]).nodes} >= {"twin"}


def test_the_keys_of_the_quick_suite_are_what_they_have_always_been() -> None:
    """Results that people have are found by them: a change here must be meant, and needs a VERSION that rises."""
    made = prepare(str(Path(__file__).parents[2] / "suites" / "quick.yaml"), None, ()).plan
    assert {place: key[:16] for place, key in places(made).items() if place in PINNED} == PINNED
    assert (
        hashlib.sha256("\n".join(sorted(keys(made, lambda node: node.stage != "probe"))).encode())
        .hexdigest()
        .startswith("70d438cd3c001862")
    )


PINNED = {
    ("pools", "", "", None): "5b06b015c5037d43",
    ("train", "", "small-resnet-pgd-at", 1): "0456ea4c4a0751e5",
    ("evade", "pgd-l2-1.5", "small-vgg", 0): "8c141c35643ef8fe",
    ("leakage", "gradient", "small-resnet", 1): "dba7ce4522d10329",
    ("infer_membership", "loss_threshold", "softmax-regression", 0): "60e58b711c542265",
}


def test_equal_stages_are_made_once_and_the_plan_does_not_change_with_that() -> None:
    made = plan(("replicas", 4))
    assert len({id(node.trial.stage) for node in made.nodes}) < len(made.nodes) / 2
    for node in made.nodes:
        assert node.key == Trial(node.trial.stage, node.trial.seed, node.trial.inputs).key
        assert node.key == hashlib.sha256(canonical(node.trial.to_json()).encode()).hexdigest()


def with_dp_sgd(tmp_path: Path, **settings: Any) -> str:
    suite = command.tiny()
    suite["models"][1] |= {"name": "private", "regime": {"method": "dp_sgd", "epochs": 2, **settings}}
    return str(command.write(tmp_path, suite))


def test_what_dp_sgd_cannot_train_is_replaced_and_said(tmp_path: Path) -> None:
    made = prepare(with_dp_sgd(tmp_path, noise_multiplier=1), None, ())
    trained = [node.trial.stage for node in made.plan.nodes if node.stage == "train" and node.model == "private"]
    assert trained and all(stage["architecture"]["method"] == "group_norm" for stage in trained)
    models = made.about["models"]
    assert isinstance(models, list)
    assert [model["architecture"] for model in models] == ["softmax_regression", "small_vgg, group norm for batch norm"]
    others = {node.key for node in prepare(str(command.TINY), None, ()).plan.nodes if node.model == "softmax"}
    assert others == {node.key for node in made.plan.nodes if node.model == "softmax"}


@pytest.mark.slow
def test_an_epsilon_out_of_reach_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"models\[1\].regime.epsilon: 0.0001 cannot be reached .* allowed: "):
        prepare(with_dp_sgd(tmp_path, epsilon=0.0001), None, ())
