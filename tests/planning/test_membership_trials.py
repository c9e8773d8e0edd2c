"""What membership attacks need is planned, or refused in one line before anything runs."""

from pathlib import Path
from typing import Any, ClassVar

import command
import pytest
from tiny_plan import BASE, SIZES, keys, places, plan

from benchmark import registry
from benchmark.membership.attack import MembershipAttack
from benchmark.planning import membership_trials
from benchmark.planning.plan import build_plan
from benchmark.planning.suite import parse_suite
from benchmark.spec import SpecError


class Needy(MembershipAttack):
    num_pairs: ClassVar[int] = 3
    needs_adversarial: ClassVar[bool] = True

    def scores(self, target: Any, shadows: Any, images: Any) -> Any:
        return target.margins[:, 0]


@pytest.fixture(autouse=True)
def needy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.MEMBERSHIP, "needy", f"{Needy.__module__}:Needy")


def test_what_an_attack_lacks_is_one_line() -> None:
    few = parse_suite(command.tiny(("membership", ["loss_threshold", "needy"]), ("shadow_replicas", 4)))
    with pytest.raises(SpecError) as error:
        membership_trials.check(few)
    assert str(error.value) == (
        "membership[1]: 'needy' needs 6 shadow models besides the target and its mate, which are 8 replicas in all; "
        "there are 2 replicas and 4 shadow_replicas"
    )
    none = command.tiny(("membership", ["needy"]), ("replicas", 8), ("queries", {"adversarial_steps": 0}))
    with pytest.raises(SpecError, match=r"^membership\[0\]: 'needy' needs adversarial versions .* is 0; allowed: 1 or"):
        membership_trials.check(parse_suite(none))
    membership_trials.check(parse_suite(command.tiny(("membership", ["needy"]), ("shadow_replicas", 6))))


@pytest.mark.parametrize("call", ["plan", "run"])
def test_the_command_says_how_many_replicas_an_attack_needs(tmp_path: Path, call: str) -> None:
    """And plans or runs nothing."""
    suite = command.write(tmp_path, command.tiny(("membership", ["loss_threshold", "lira"])))
    said = command.refusal(command.call(call, suite, "--results", tmp_path / "results"))
    assert said == (
        "membership[1]: 'lira' needs 4 shadow models besides the target and its mate, which are 6 replicas in all; "
        "there are 2 replicas and 0 shadow_replicas"
    )
    assert not (tmp_path / "results").exists()


def test_shadow_replicas_are_trained_and_asked_and_no_more() -> None:
    more = places(plan(("shadow_replicas", 4)))
    added = {place for place in more if place not in BASE}
    assert {(stage, model, replica) for stage, _, model, replica in added} == {
        (stage, model, replica)
        for stage in ("train", "query")
        for model in ("softmax", "hardened")
        for replica in range(2, 6)
    }
    changed = {place[0] for place in BASE if BASE[place] != more[place]}
    assert changed == {"infer_membership", "memorization"}, "they have more shadow models; nothing else has"


def test_an_attack_that_needs_them_adds_adversarial_versions_in_the_models_own_ball() -> None:
    made = plan(("membership", ["needy"]), ("shadow_replicas", 6), ("queries", {"adversarial_steps": 5}))
    balls = {node.model: node.trial.stage["ball"] for node in made.nodes if node.stage == "query"}
    assert balls["hardened"] == {"norm": "l2", "epsilon": 0.5, "steps": 5} == balls["softmax"]
    plain = plan(("models.1.regime.epsilon", 0.25), ("membership", ["needy"]), ("shadow_replicas", 6))
    own = {node.model: node.trial.stage["ball"]["epsilon"] for node in plain.nodes if node.stage == "query"}
    assert own == {"hardened": 0.25, "softmax": 0.5}, "softmax has no adversary: the primary evasion's"


def test_features_are_an_input_of_attacks_that_need_them_alone() -> None:
    made = plan(("membership", ["loss_threshold", "quantile"]))
    (auxiliary,) = {node.key for node in made.nodes if node.stage == "embed_auxiliary"}
    for node in made.nodes:
        if node.stage == "infer_membership":
            features = {role: key for role, key in node.trial.inputs.items() if not role.startswith("query_")}
            assert features.keys() == ({"embed", "embed_auxiliary"} if node.method == "quantile" else set())
            assert features.get("embed_auxiliary", auxiliary) == auxiliary
    assert keys(plan()) < keys(made)


def test_a_narrow_model_costs_as_much_as_its_own_images() -> None:
    def costs(stage: str, *edits: tuple[str, Any]) -> list[float]:
        return [node.cost for node in plan(*edits).nodes if node.stage == stage and node.model == "softmax"]

    narrow, one = ("models.0.num_members", 100), 2.0 * 28 * 28 * 3  # a multiplication and an addition a weight
    epochs = command.tiny()["models"][0]["regime"]["epochs"]
    assert costs("train", narrow) == pytest.approx([epochs * 100 * 3 * one] * 2)
    assert costs("predict", narrow) == pytest.approx([(200 + 120) * one] * 2), "its private images and the test images"
    assert costs("query", narrow) == pytest.approx([(200 + 330) * 2 * one] * 2), "and auxiliary ones, and their mirrors"
    assert costs("evade", narrow) == costs("evade"), "test images are the same"
    full, own = ([n.cost for n in p.nodes if n.stage == "embed"] for p in (plan(), plan(narrow)))
    assert own[:2] == full and own[2] / full[0] == pytest.approx((200 + 330) / (2970 + 330))


def test_a_narrow_model_has_pools_of_its_own_and_keeps_the_others() -> None:
    made = plan(("models.0.num_members", 100))
    assert {node.model for node in made.nodes if node.stage == "narrow_pools"} == {"softmax"}
    (pools,) = {node.key for node in made.nodes if node.stage == "narrow_pools"}
    own = [node for node in made.nodes if node.model == "softmax" and node.stage in ("train", "query", "leakage")]
    assert own and all(node.trial.inputs["pools"] == pools for node in own)
    others = {node.key for node in plan().nodes if node.model not in ("softmax",)}
    assert others <= keys(made)


def test_new_keys_count_in_the_hash_where_they_are_set() -> None:
    before = parse_suite(command.tiny()).hash
    assert before == "770c9699f6b06b7f9e943551a170a84395c987ee670bd97e4937fd6dfa928054"
    for path, value in [("shadow_replicas", 2), ("models.0.num_members", 100), ("queries", {"shifts": 1})]:
        assert parse_suite(command.tiny((path, value))).hash != before
    assert parse_suite(command.tiny(("queries", {}))).hash == before


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("shadow_replicas", 3, "shadow_replicas: 3 is odd; allowed: an even number"),
        ("models.0.num_members", 0, r"models\[0\].num_members: 0 is not allowed"),
        ("queries", {"shifts": 9}, "queries.shifts: 9 is not allowed"),
    ],
)
def test_wrong_values_are_one_line(path: str, value: Any, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        build_plan(parse_suite(command.tiny((path, value))), "f" * 64, SIZES)
