"""Turns a suite into its plan: all its trials, parents first. Reads no results and runs nothing."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

from benchmark import registry
from benchmark.evasion.attack import Evasion
from benchmark.evasion.given import Given as GivenImages
from benchmark.inversion.attack import Inversion
from benchmark.inversion.gradient import GradientInversion
from benchmark.inversion.injected import Injected
from benchmark.membership.attack import MembershipAttack
from benchmark.models.memoriser import Memoriser
from benchmark.planning import costs, membership_trials
from benchmark.planning.given_model import Given
from benchmark.planning.handed_in_files import HandedInFile
from benchmark.planning.labels import INJECTED, labelled
from benchmark.planning.models_of_suite import AnyModel, ExternalModel, ModelEntry, Recipe
from benchmark.planning.suite import Suite
from benchmark.regimes.memorise import Memorise
from benchmark.regimes.untrained import Untrained
from benchmark.spec import Spec, SpecError, suggest
from benchmark.trials.trial import Trial, key_of

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Node:
    """A trial with its place in the suite. Labels are for people; they are in no key.

    model: empty for trials that all models share. replica: None likewise.
    cost: floating-point operations, roughly.
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
    """The trials of one suite in topological order; a key occurs once a label."""

    suite: str
    suite_hash: str
    nodes: tuple[Node, ...]

    def only(self, models: Collection[str]) -> "Plan":
        """The trials that these models need. Raises SpecError for a model that is not in the suite."""
        known = sorted({node.model for node in self.nodes if node.model})
        for name in models:
            if name not in known:
                raise SpecError(f"--only: unknown model {name!r}{suggest(name, known)}")
        wanted: set[str] = set()
        for node in reversed(self.nodes):
            if node.model in models or node.key in wanted:
                wanted |= {node.key, *node.trial.inputs.values()}
        return Plan(self.suite, self.suite_hash, tuple(node for node in self.nodes if node.key in wanted))


def build_plan(
    suite: Suite,
    fingerprint: str,
    sizes: costs.Sizes,
    given: Mapping[str, Given] = MappingProxyType({}),
    handed_in: Sequence[HandedInFile] = (),
) -> Plan:
    """The plan of a suite: every trial of it.

    fingerprint: sha256 of the data set's content. sizes: of its pools, for the costs. given: the checkpoint of each
    external model, by its name. handed_in: the files of adversarial images.
    """
    return _Builder(suite, fingerprint, sizes, given, handed_in).build()


class _Builder:
    def __init__(
        self,
        suite: Suite,
        fingerprint: str,
        sizes: costs.Sizes,
        given: Mapping[str, Given],
        handed_in: Sequence[HandedInFile],
    ) -> None:
        self._suite, self._sizes, self._given = suite, sizes, given
        self._handed_in = {(file.label, file.model, file.replica): file.sha256 for file in handed_in}
        self._evasions = labelled("evasion", suite.evasion)
        self._inversions = labelled("inversion", suite.inversion)
        self._embed_auxiliary = ""
        self._evaluators = {"evaluator": suite.evaluators.standard, "evaluator_robust": suite.evaluators.robust}
        self._nodes: dict[tuple[str, str, str, int | None], Node] = {}
        self._stages: dict[str, tuple[Json, str]] = {}
        self._dumps: dict[int, tuple[Spec, Json]] = {}
        self._pools = self._add(
            {
                "method": "pools",
                "data": self._dump("data", suite.data),
                "fingerprint": fingerprint,
                "pools": suite.pools.model_dump(mode="json"),
            },
            {},
            costs.pools(sizes),
        )

    def build(self) -> Plan:
        suite = self._suite
        judges = self._judges()
        for model in suite.models:
            if isinstance(model, ExternalModel):
                self._external(model, judges)
            else:
                self._trained(model, judges)
        self._controls(judges)
        return Plan(suite.name, suite.hash, tuple(self._nodes.values()))

    def _judges(self) -> dict[str, str]:
        """Role -> key of the pools, of the evaluators and of their features of the data."""
        judges: dict[str, str] = {"pools": self._pools}
        for role, recipe in self._evaluators.items():
            judges[role] = self._add(
                {"method": "train", "pool": "auxiliary", **self._recipe(recipe)},
                {},
                costs.train(recipe, self._sizes, self._sizes.num_auxiliary),
                role,
            )
        embedded = self._embedded(judges)
        if any(cast(MembershipAttack, attack).needs_features for attack in self._suite.membership):
            inputs = {"pools": self._pools, "model": judges["evaluator"], "embed": embedded["embed"]}
            cost = costs.embed_auxiliary(self._evaluators["evaluator"], self._sizes)
            self._embed_auxiliary = self._add({"method": "embed_auxiliary"}, inputs, cost, "evaluator")
        return embedded

    def _embedded(self, judges: Mapping[str, str], owner: AnyModel | None = None) -> dict[str, str]:
        """The judges with the evaluators' features of the data in their pools. owner: the model with its own pools."""
        found = dict(judges)
        sizes = self._sizes.of(owner) if owner else self._sizes
        labels = (owner.name, 0) if owner else ("", None)
        for role, recipe in self._evaluators.items():
            inputs = {"pools": judges["pools"], "model": judges[role]}
            cost = costs.embed(recipe, sizes)
            embed = role.replace("evaluator", "embed")
            found[embed] = self._add({"method": "embed"}, inputs, cost, role, *labels)
        return found

    def _trained(self, model: ModelEntry, judges: Mapping[str, str]) -> None:
        """A model that is trained here: its replicas, and those that are shadow models alone."""
        suite, name = self._suite, model.name
        if model.num_members is not None:
            stage: Json = {"method": "narrow_pools", "data": self._dump("data", suite.data)}
            stage["num_members"] = model.num_members
            pools = self._add(stage, {}, 0.0, "", name, 0)
            judges = self._embedded({**judges, "pools": pools}, model)
        numbers = range(suite.replicas + suite.shadow_replicas)
        targets = {number: self._train(model, name, number, judges["pools"]) for number in numbers}
        for replica in range(suite.replicas):
            self._measure(model, replica, targets[replica], judges)
        self._infer_membership(model, targets, range(suite.replicas), judges)

    def _external(self, model: ExternalModel, judges: Mapping[str, str]) -> None:
        """A model that was trained elsewhere is replica 0; its shadow models, if any, are numbered from 2 on."""
        target, judged = self._import(model, judges)
        self._measure(model, 0, target, judged)
        targets = {0: target}
        if model.shadow_recipe is not None:
            for number in range(2, 2 + self._suite.shadow_replicas):
                targets[number] = self._train(model.shadow_recipe, model.name, number, judged["pools"])
        self._infer_membership(model, targets, range(1), judged)

    def _import(self, model: ExternalModel, judges: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        """Key of an external model; the judges with pools, and features of the data, for its declared members."""
        given, name = self._given[model.name], model.name
        stage: Json = {"method": "declare_members", "data": self._dump("data", self._suite.data), **given.members}
        pools = self._add(stage, {}, costs.declare_members(self._sizes), "", name, 0)
        stage = {
            "method": "import",
            "architecture": self._dump("architecture", model.architecture),
            "sha256": given.sha256,
            "mean": list(given.mean),
            "std": list(given.std),
            "clean_accuracy": model.checkpoint.clean_accuracy,
        }
        target = self._add(stage, {}, costs.import_model(model, self._sizes), "", name, 0)
        return target, self._embedded({**judges, "pools": pools}, model)

    def _train(self, recipe: Recipe, name: str, replica: int, pools: str) -> str:
        sizes = self._sizes.of(recipe)
        return self._add(
            {"method": "train", "replica": replica, **self._recipe(recipe)},
            {"pools": pools},
            costs.train(recipe, sizes, sizes.num_members),
            model=name,
            replica=replica,
        )

    def _measure(self, model: AnyModel, replica: int, target: str, judges: Mapping[str, str]) -> None:
        """What is measured on one replica of a model by itself."""
        inputs = {"pools": judges["pools"], "target": target}
        cost = costs.predict(model, self._sizes.of(model))
        self._add({"method": "predict"}, inputs, cost, "", model.name, replica)
        self._add({"method": "probe"}, inputs, costs.probe(model, self._sizes), "", model.name, replica)
        self._evade(model, inputs, replica)
        for label, inversion in self._inversions.items():
            attack = self._suite.attack_on(model.name, label, inversion)
            self._invert(model, label, attack, inputs, judges, model.name, replica)

    def _infer_membership(
        self, model: AnyModel, targets: Mapping[int, str], measured: Sequence[int], judges: Mapping[str, str]
    ) -> None:
        """What all replicas of a model say of the private images, and the attacks on those that are measured."""
        asked = membership_trials.query(model, self._suite)
        cost = costs.query(model, self._sizes.of(model), membership_trials.num_passes(asked))
        inputs = {}
        for replica, target in targets.items():
            parents = {"pools": judges["pools"], "target": target}
            inputs[f"query_{replica}"] = self._add(asked, parents, cost, "", model.name, replica)
        if len(inputs) > 1:  # one model alone has no counterfactual
            stage: Json = {"method": "memorization", "num_attacked": len(measured)}
            self._add(stage, {"pools": judges["pools"], **inputs}, 0.0, "", model.name)
        features = {**inputs, "embed": judges["embed"], "embed_auxiliary": self._embed_auxiliary}
        for label, attack in membership_trials.attacks_on(model, self._suite).items():
            for replica in measured:
                stage = {"method": "infer_membership", "replica": replica}
                stage["attack"] = self._dump("membership", attack)
                asked = features if attack.needs_features else inputs
                self._add(stage, asked, 0.0, label, model.name, replica, pools=False)

    def _evade(self, model: AnyModel, inputs: Mapping[str, str], replica: int) -> None:
        sizes = self._suite.evaluation
        for index, (label, given) in enumerate(self._evasions.items()):
            attack: Evasion = self._suite.attack_on(model.name, label, cast(Evasion, given))
            if isinstance(attack, GivenImages):
                content = self._handed_in.get((label, model.name, replica))
                if content is None:
                    continue
                attack = attack.of_content(content)
            stage: Json = {"method": "evade", "attack": self._dump("evasion", attack)}
            stage["num_images"] = sizes.num_images
            # The robust generalization gap is the primary attack's only: members cost as much again.
            stage["num_members"] = sizes.num_members if index == 0 else 0
            there = self._sizes.of(model)
            num_images = min(stage["num_images"], there.num_test) + min(stage["num_members"], there.num_members)
            cost = costs.evade(model, attack, num_images, self._sizes)
            self._add(stage, inputs, cost, label, model.name, replica)

    def _invert(
        self,
        recipe: Recipe | ExternalModel,
        label: str,
        attack: Inversion,
        attacked: Mapping[str, str],
        judges: Mapping[str, str],
        name: str,
        replica: int,
    ) -> None:
        """Attack, neighbors and metrics of one inversion attack on one replica. attacked: its pools and target."""
        stage: Json = {"method": "invert", "attack": self._dump("inversion", attack)}
        sizes = self._sizes.of(recipe)
        cost = costs.invert(recipe, attack, sizes)
        prior = self._prior(attack)
        inversion = self._add(stage, {**attacked, **prior} if prior else attacked, cost, label, name, replica)
        inputs = {**attacked, "inversion": inversion, **judges}
        stage = {"method": "neighbours", "k": self._suite.evaluation.neighbours}
        cost = costs.predict(recipe, sizes)
        neighbors = self._add(stage, inputs, cost, label, name, replica)
        stage = {"method": "leakage", "shown_neighbours": self._suite.evaluation.shown_neighbours}
        self._add(stage, {**inputs, "neighbours": neighbors}, costs.leakage(sizes), label, name, replica)

    def _prior(self, attack: Inversion) -> dict[str, str]:
        """Role -> key of what the attack learned from auxiliary images: one trial for all targets."""
        if attack.learned_prior is None:
            return {}
        stage: Json = {"method": "fit_prior", "prior": self._dump("prior", attack.learned_prior)}
        label, cost = registry.name_of("inversion", attack), costs.fit_prior(attack.learned_prior, self._sizes)
        return {"prior": self._add(stage, {}, cost, label)}

    def _controls(self, judges: Mapping[str, str]) -> None:
        """The memoriser and an untrained network under the first attack that has no prior, and injected images.

        A prior of auxiliary images holds no member, so that no memoriser could pass; what it shows without any
        target is injected.
        """
        suite = self._suite
        memoriser = Recipe(architecture=Memoriser(), regime=Memorise())
        # An evaluator's architecture, not a model's: adding a model then changes no control.
        untrained = Recipe(architecture=suite.evaluators.robust.architecture, regime=Untrained())
        primary = suite.inversion[0]
        free = (name for name, attack in self._inversions.items() if attack.learned_prior is None)
        label = next(free, "gradient")
        attack = self._inversions.get(label) or GradientInversion(samples_per_class=primary.samples_per_class)
        nulls = (each.without_target() for each in suite.inversion)
        alone = labelled("inversion", [each for each in nulls if each is not None])
        for replica in range(suite.replicas):
            store = {"pools": self._pools, "target": self._train(memoriser, "memoriser", replica, self._pools)}
            self._invert(memoriser, label, attack.for_memoriser(), store, judges, "memoriser", replica)
            random = {"pools": self._pools, "target": self._train(untrained, "untrained", replica, self._pools)}
            self._invert(untrained, label, attack, random, judges, "untrained", replica)
            for name, settings in INJECTED.items():
                injected = Injected.parse({**settings, "samples_per_class": primary.samples_per_class})
                self._invert(untrained, name, injected, random, judges, "injected", replica)
            for name, null in alone.items():
                self._invert(untrained, name, null, random, judges, "injected", replica)

    def _add(
        self,
        stage: Mapping[str, Any],
        inputs: Mapping[str, str],
        cost: float,
        method: str = "",
        model: str = "",
        replica: int | None = None,
        pools: bool = True,
    ) -> str:
        """Add a trial under its labels; returns its key. inputs: kept as they are, so that many trials share them."""
        name = stage["method"]
        checked, text = self._checked(stage)
        if pools and name != "pools" and "pools" not in inputs:
            inputs = {"pools": self._pools, **inputs}
        key = key_of(text, self._suite.seed, inputs)
        # Two attacks may be one on a model that has tuned settings; what all models share is there once.
        place = (key, method if model else "", model, replica)
        if place not in self._nodes:
            self._nodes[place] = Node(Trial(checked, self._suite.seed, inputs), key, name, method, model, replica, cost)
        return key

    def _checked(self, stage: Mapping[str, Any]) -> tuple[Json, str]:
        """What a stage is in a trial, and its canonical JSON: made once, since many trials have equal stages."""
        written = repr(stage)
        if written not in self._stages:
            checked = registry.dump("stage", registry.parse("stage", dict(stage)))
            self._stages[written] = checked, registry.canonical(checked)
        return self._stages[written]

    def _dump(self, kind: str, spec: Spec) -> Json:
        """`registry.dump`, once a spec. What is kept holds the spec, so that no other gets its `id`."""
        if id(spec) not in self._dumps:
            self._dumps[id(spec)] = spec, registry.dump(kind, spec)
        return self._dumps[id(spec)][1]

    def _recipe(self, recipe: Recipe) -> Json:
        return {
            "architecture": self._dump("architecture", recipe.architecture),
            "regime": self._dump("regime", recipe.regime),
        }
