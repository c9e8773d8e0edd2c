"""What membership attacks need of a suite: shadow models, and what all are asked; checked before anything runs."""

from collections.abc import Mapping
from typing import Any, cast

from benchmark import registry
from benchmark.evasion.attack import Evasion
from benchmark.membership.attack import MembershipAttack
from benchmark.planning.labels import labelled
from benchmark.planning.models_of_suite import AnyModel, ExternalModel
from benchmark.planning.suite import Suite
from benchmark.spec import SpecError


def check(suite: Suite) -> None:
    """Raise SpecError, in one line, if an attack would lack shadow models or adversarial versions of images."""
    attacks = cast(list[MembershipAttack], suite.membership)
    trained = [model for model in suite.models if not isinstance(model, ExternalModel)]
    for index, attack in enumerate(attacks):
        name, place = registry.name_of("membership", attack), ("membership", index)
        if attack.needs_adversarial and not suite.queries.adversarial_steps:
            message = f"{name!r} needs adversarial versions of the images, and queries.adversarial_steps is 0"
            raise SpecError(f"{message}; allowed: 1 or more", place)
        there = suite.replicas + suite.shadow_replicas
        if trained and 2 * attack.num_pairs + 2 > there:
            needs = f"{name!r} needs {2 * attack.num_pairs} shadow models besides the target and its mate, which are"
            have = f"{suite.replicas} replicas and {suite.shadow_replicas} shadow_replicas"
            raise SpecError(f"{needs} {2 * attack.num_pairs + 2} replicas in all; there are {have}", place)
    for index, model in enumerate(suite.models):
        if isinstance(model, ExternalModel) and not attacks_on(model, suite):
            least = 2 * min(attack.num_pairs for attack in attacks)
            there = suite.shadow_replicas if model.shadow else 0
            needs = f"every membership attack of the suite needs shadow models, at least {least}; it has {there}"
            allowed = "a 'shadow' regime with shadow_replicas, or an attack that needs none, such as loss_threshold"
            raise SpecError(f"{needs}; allowed: {allowed}", ("models", index))


def attacks_on(model: AnyModel, suite: Suite) -> Mapping[str, MembershipAttack]:
    """Label -> attack that this model has shadow models for; all of them on a model that is trained here."""
    attacks = cast(Mapping[str, MembershipAttack], labelled("membership", suite.membership))
    if not isinstance(model, ExternalModel):
        return attacks
    num_pairs = suite.shadow_replicas // 2 if model.shadow else 0
    return {label: attack for label, attack in attacks.items() if attack.num_pairs <= num_pairs}


def query(model: AnyModel, suite: Suite) -> dict[str, Any]:
    """The stage that asks a model and its shadow models.

    Adversarial versions are in the ball that the model was trained in, else in that of the suite's primary evasion.
    """
    stage: dict[str, Any] = {"method": "query", "mirror": suite.queries.mirror, "shifts": suite.queries.shifts}
    if any(cast(MembershipAttack, attack).needs_adversarial for attack in suite.membership):
        primary = cast(Evasion, suite.evasion[0])
        norm, epsilon = model.adversary or (primary.norm, primary.epsilon)
        stage["ball"] = {"norm": norm, "epsilon": epsilon, "steps": suite.queries.adversarial_steps}
    return stage


def num_passes(stage: Mapping[str, Any]) -> float:
    """What a stage that `query` made costs an image, in forward passes."""
    ball = stage.get("ball")
    return float(1 + stage["mirror"] + stage["shifts"] + (3 * ball["steps"] + 1 if ball else 0))
