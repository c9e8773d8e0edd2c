"""A label is made from the registered name and from what tells an attack from those beside it."""

import hashlib
from typing import Any

import command
import pytest

from benchmark import registry
from benchmark.aggregation import intervals_over_replicas
from benchmark.aggregation.finished_trial import Done
from benchmark.memorization.controls import CONTROLS
from benchmark.models.classifier import InputInfo
from benchmark.planning.costs import Sizes
from benchmark.planning.labels import INJECTED, label, labelled
from benchmark.planning.plan import Plan, build_plan
from benchmark.planning.suite import load_suite, parse_suite
from benchmark.planning.suite_description import describe
from benchmark.spec import SpecError
from benchmark.tuning.session import Session, choose
from benchmark.user_files import include

MINE = str(command.HELPERS / "my_attacks.py")
SIZES = Sizes(InputInfo(1, 28, 28, 3, (0.3,), (0.3,)), 330, 2970, 300, 120)
PGD = {"method": "pgd", "norm": "linf", "epsilon": 0.1}
GRADIENT = {"method": "gradient", "samples_per_class": 4}


@pytest.fixture(autouse=True)
def mine(registered: None) -> None:
    include.load(MINE)


def labels(kind: str, *attacks: Any) -> list[str]:
    parsed = [registry.parse(kind, attack) for attack in attacks]
    found = labelled(kind, parsed)
    assert list(found.values()) == parsed
    assert dict(labelled(kind, parsed[::-1])) == found, "the order of the list is of no account"
    return list(found)


def plan(*edits: tuple[str, Any]) -> Plan:
    return build_plan(parse_suite(command.tiny(*edits)), "f" * 64, SIZES)


CASES: list[tuple[str, list[Any], list[str]]] = [
    ("evasion", [PGD, {**PGD, "steps": 100}], ["pgd-linf-0.1", "pgd-linf-0.1-steps_100"]),
    ("evasion", [{**PGD, "steps": 50}, {**PGD, "steps": 100}], ["pgd-linf-0.1-steps_50", "pgd-linf-0.1-steps_100"]),
    (
        "evasion",
        [PGD, {**PGD, "steps": 100}, {**PGD, "steps": 100, "restarts": 2}, {**PGD, "norm": "l2", "steps": 100}],
        ["pgd-linf-0.1", "pgd-linf-0.1-steps_100", "pgd-linf-0.1-steps_100-restarts_2", "pgd-l2-0.1"],
    ),
    ("evasion", [PGD, {**PGD, "random_start": False}], ["pgd-linf-0.1", "pgd-linf-0.1-random_start_False"]),
    (
        "evasion",
        [{**PGD, "epsilon": "8/255"}, {**PGD, "epsilon": 0.03137}],
        ["pgd-linf-0.03137-epsilon_0.03137254901960784", "pgd-linf-0.03137-epsilon_0.03137"],
    ),
    ("evasion", [PGD, {**PGD, "method": "strong"}], ["pgd-linf-0.1", "strong-linf-0.1"]),
    ("inversion", ["gradient", "mine"], ["gradient", "mine"]),
    ("inversion", [{"method": "mine", "step": "adam"}, "mine"], ["mine-adam", "mine"]),
    ("inversion", [{**GRADIENT, "steps": 50}, {**GRADIENT, "steps": 100}], ["gradient-steps_50", "gradient-steps_100"]),
    ("inversion", [{**GRADIENT, "steps": 50}], ["gradient"]),
    ("inversion", [{**GRADIENT, "step": "sign", "start": "zeros"}], ["gradient-sign-zeros"]),
    ("inversion", ["deepinversion", "mi_face", "multiscale"], ["deepinversion", "mi_face", "multiscale"]),
    ("inversion", ["generator", {"method": "generator", "steps": 0}], ["generator", "generator_alone"]),
    ("inversion", ["my_generator", {"method": "my_generator", "steps": 0}], ["my_generator", "my_generator_alone"]),
    (
        "inversion",
        ["generator", {"method": "generator", "prior": {"method": "dcgan", "width": 8}}],
        ["generator", "generator-prior.width_8"],
    ),
    ("inversion", ["mine", {"method": "mine", "note": "<b>\n\x1b[2J"}], ["mine", "mine-note__b_2J"]),
    ("membership", ["loss_threshold", "smoothed"], ["loss_threshold", "smoothed"]),
    ("membership", ["smoothed", {"method": "smoothed", "share": 0.25}], ["smoothed", "smoothed-share_0.25"]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "attacks", "expected"), CASES, ids=lambda value: str(value)[:60])
def test_a_label_tells_an_attack_from_those_beside_it(kind: str, attacks: list[Any], expected: list[str]) -> None:
    assert labels(kind, *attacks) == expected


def test_long_values_are_cut_and_still_told_apart() -> None:
    found = labels("inversion", *({"method": "mine", "note": "x" * 5000 + end} for end in "abc"))
    assert len(set(found)) == 3 and all(len(text) < 120 and text.isascii() for text in found)


def test_attacks_that_are_one_are_refused_and_others_are_not() -> None:
    for kind, attack, said in (
        ("evasion", PGD, "evasion[1]: 'pgd-linf-0.1' is there twice; allowed: attacks that differ"),
        ("evasion", {**PGD, "steps": 20}, "evasion[1]: 'pgd-linf-0.1' is there twice"),
        ("inversion", "mine", "inversion[1]: 'mine' is there twice"),
        ("membership", "smoothed", "membership[1]: 'smoothed' is there twice"),
    ):
        first = (
            {name: value for name, value in attack.items() if name != "steps"} if isinstance(attack, dict) else attack
        )
        with pytest.raises(SpecError) as error:
            parse_suite(command.tiny((kind, [first, attack])))
        assert str(error.value).startswith(said)


TWINS: tuple[tuple[str, Any], ...] = (
    ("evasion", [PGD, {**PGD, "steps": 100}]),
    ("inversion", [{**GRADIENT, "steps": 50}, {**GRADIENT, "steps": 100}, {"method": "mine", "samples_per_class": 4}]),
    ("membership", ["smoothed", {"method": "smoothed", "share": 0.25}]),
)


def test_variants_of_one_attack_stand_side_by_side_in_plan_and_page() -> None:
    made = plan(*TWINS)
    by_stage = {
        stage: [n.method for n in made.nodes if (n.stage, n.model, n.replica) == (stage, "softmax", 0)]
        for stage in ("evade", "leakage", "infer_membership")
    }
    assert by_stage == {
        "evade": ["pgd-linf-0.1", "pgd-linf-0.1-steps_100"],
        "leakage": ["gradient-steps_50", "gradient-steps_100", "mine"],
        "infer_membership": ["smoothed", "smoothed-share_0.25"],
    }
    about: Any = describe(parse_suite(command.tiny(*TWINS)), "", "", "")
    assert [attack["label"] for attack in about["evasion"]] == by_stage["evade"]
    assert (about["inversion"], about["membership"]) == (by_stage["leakage"], by_stage["infer_membership"])
    controls = {n.method for n in made.nodes if n.model == "injected"}
    assert controls == set(INJECTED) and controls < set(CONTROLS)


def test_a_generator_of_the_users_has_a_null_case_of_its_own_name() -> None:
    small = {"steps": 12, "samples_per_class": 4}
    made = plan(("inversion", [{"method": "my_generator", **small}, {"method": "generator", **small}]))
    assert {n.method for n in made.nodes if n.model == "injected"} == {
        *INJECTED,
        "my_generator_alone",
        "generator_alone",
    }
    assert len({n.key for n in made.nodes if n.stage == "fit_prior"}) == 1, "one prior for both"
    assert {n.method for n in made.nodes if n.model == "memoriser" and n.stage == "leakage"} == {"gradient"}


def test_tuned_settings_find_a_variant_by_its_label() -> None:
    tuned = {"gradient-steps_100": {"softmax": {"step_size": 0.25}}}
    suite = parse_suite(command.tiny(*TWINS, ("tuned", tuned)))
    stages = {
        n.method: n.trial.stage["attack"]
        for n in build_plan(suite, "f" * 64, SIZES).nodes
        if (n.stage, n.model, n.replica) == ("invert", "softmax", 0)
    }
    assert {name: stage["step_size"] for name, stage in stages.items()} == {
        "gradient-steps_50": None, "gradient-steps_100": 0.25, "mine": None
    }  # fmt: skip
    with pytest.raises(SpecError, match=r"tuned: 'gradient' is no attack of the suite.*gradient-steps_100"):
        parse_suite(command.tiny(*TWINS, ("tuned", {"gradient": {"softmax": {"step_size": 0.25}}})))
    assert choose(suite, None) == "gradient-steps_50" and choose(suite, "mine") == "mine"
    session = Session(suite, plan(*TWINS), "gradient-steps_100", 2, 7)
    assert (session.label, session.attack.passes) == ("gradient-steps_100", 100)


def test_two_attacks_that_tuning_makes_one_on_a_model_both_have_their_rows() -> None:
    two = [{**GRADIENT, "step_size": 1.0}, {**GRADIENT, "step_size": 2.0}]
    made = plan(("inversion", two), ("tuned", {"gradient-step_size_1": {"softmax": {"step_size": 2.0}}}))
    found = [(n.method, n.key) for n in made.nodes if (n.stage, n.model, n.replica) == ("leakage", "softmax", 0)]
    assert [name for name, _ in found] == ["gradient-step_size_1", "gradient-step_size_2"]
    assert found[0][1] == found[1][1], "one trial"


class _Results:
    """Evasions of one model with their curves. attacks: label -> (steps, share of 100 images that stayed right)."""

    def __init__(self, attacks: dict[str, tuple[int, float]], epsilon: float) -> None:
        self.about = {
            "evasion": [{"label": name, "kind": "iterated", "norm": "linf", "epsilon": epsilon} for name in attacks]
        }
        self.attacks = attacks

    def of(self, model: str, stage: str, method: str = "") -> dict[int, Done]:
        if stage != "evade":
            return {}
        row = {"metric": "robust_accuracy", "value": self.attacks[method][1], "n": 100}
        return {0: Done(method, stage, method, model, 0, (row,), {}, "")}

    def curve(self, key: str) -> list[float]:
        return [1.0 if step < 3 else 1.0 + step / 20 for step in range(self.attacks[key][0] + 1)]


@pytest.mark.parametrize("backwards", [False, True])
def test_the_stronger_of_two_variants_decides_whether_gradients_are_masked(backwards: bool) -> None:
    def suspected(epsilon: float, **attacks: tuple[int, float]) -> bool:
        given = dict(reversed(attacks.items())) if backwards else attacks
        (row,) = intervals_over_replicas._masking(_Results(given, epsilon), "m")  # type: ignore[arg-type]
        return bool(row["value"])

    assert not suspected(0.5, pgd=(20, 0.5), more=(100, 0.0)), "100 steps reach every image"
    assert suspected(0.5, pgd=(20, 0.5), more=(100, 0.4))
    assert not suspected(0.1, pgd=(2, 0.5), more=(100, 0.4)), "more steps raise the loss, as the longer run shows"
    assert suspected(0.1, pgd=(2, 0.5))


SHIPPED = {
    "cifar": "d09e802003f285ffa26ca9e7f7716b083e77a2e6562acdb15bef667d4efbd988",
    "faces": "07e6f22b2be719248f499b3b9d69ee880fbece0db3398dcb93dc657f2e24e853",
    "fashion": "8f4918b227e97bb005dd25f984922a98ff47f8bd9e8b5ae4e24f5707266d75f4",
    "fashion-small": "6de0c8dcd4fe325ceab198c5781ae41e113cf16d7a4733e55d336d80136b1268",
    "fer": "1d8931a3d42a8c971a702be4a097db7cfa9675e0d687c5539580e5a8e71bad52",
    "quick": "0c287e79697c90f13bd87eaeb63ae09debab73e7bb9d8f9b6cf0a17399438cad",
}
"""Of every node's stage, label, model, replica and key, for made-up data; probes came later."""


@pytest.mark.parametrize(("name", "expected"), SHIPPED.items())
def test_labels_and_keys_of_the_shipped_suites_are_what_they_have_always_been(name: str, expected: str) -> None:
    suite, _ = load_suite(str(command.ROOT / "suites" / f"{name}.yaml"))
    made = build_plan(suite, "f" * 64, SIZES)
    text = "\n".join(
        sorted(f"{n.stage} {n.method} {n.model} {n.replica} {n.key}" for n in made.nodes if n.stage != "probe")
    )
    assert hashlib.sha256(text.encode()).hexdigest() == expected


def test_the_label_of_an_attack_by_itself() -> None:
    assert label("evasion", registry.parse("evasion", {**PGD, "steps": 100})) == "pgd-linf-0.1"
    assert label("inversion", registry.parse("inversion", "mine")) == "mine"
