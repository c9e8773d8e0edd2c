"""The models that a search attacks and the judges of it, none of which any table reports, and their trials."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmark import registry
from benchmark.evasion.attack import Evasion
from benchmark.inversion.attack import Inversion
from benchmark.planning.plan import Node, Plan
from benchmark.planning.suite import Suite
from benchmark.trials.trial import Trial

NUM_TARGETS = 2
"""Of a trained model: settings are searched on the first and confirmed on the second, which has other members."""
_JUDGES = ("evaluator", "evaluator_robust")


@dataclass(frozen=True)
class Target:
    """One model to attack. pools, model: keys of its trials."""

    pools: str
    model: str


@dataclass(frozen=True)
class Ground:
    """plan: the trials that must be done before the search. targets: model -> what is attacked of it; one target, the
    reported model itself, where it was trained elsewhere. judges: role -> key. prior: key, or empty.
    """

    plan: Plan
    targets: Mapping[str, tuple[Target, ...]]
    judges: Mapping[str, str]
    prior: str
    seed: int


@dataclass
class _Builder:
    """Copies the trials of a suite's plan that make models, under another seed and with other pools."""

    seed: int
    num_reported: int
    nodes: dict[str, Node] = field(default_factory=dict)

    def add(self, like: Node, stage: Mapping[str, object], inputs: Mapping[str, str]) -> str:
        trial = Trial(dict(stage), self.seed, dict(inputs))
        key = trial.key
        self.nodes[key] = Node(trial, key, str(stage["method"]), like.method, like.model, like.replica, like.cost)
        return key

    def pools(self, like: Node, data: object, inner: str) -> str:
        stage = registry.parse("stage", {"method": "tuning_pools", "data": data, "num_reported": self.num_reported})
        return self.add(like, registry.dump("stage", stage), {"pools": inner})


def lay(suite: Suite, plan: Plan, attack: Evasion | Inversion, seed: int) -> Ground:
    """The models to search on, with their plan.

    plan: of the suite. seed: any but the suite's. Nothing but the cut into auxiliary, private and test images is a
    trial of the suite's own plan.
    """
    assert seed != suite.seed
    needs_judges = isinstance(attack, Inversion)
    builder = _Builder(seed, 0 if needs_judges else suite.evaluation.num_images)
    first = next(node for node in plan.nodes if node.stage == "pools")
    builder.nodes[first.key] = first
    data = first.trial.stage["data"]
    pools = builder.pools(first, data, first.key)
    judges: dict[str, str] = {}
    priors: list[str] = []
    targets: dict[str, tuple[Target, ...]] = {}
    declared: dict[str, str] = {}
    names = [model.name for model in suite.models]
    for node in plan.nodes:
        stage, inputs = node.trial.stage, node.trial.inputs
        if node.stage == "train" and node.method in _JUDGES and needs_judges:
            judges[node.method] = builder.add(node, stage, {"pools": pools})
        elif node.stage == "fit_prior" and needs_judges:
            if stage["prior"] == _prior(attack):
                priors.append(builder.add(node, stage, {"pools": pools}))
        elif node.model in names and node.stage == "train" and (node.replica or 0) < NUM_TARGETS:
            target = Target(pools, builder.add(node, stage, {"pools": pools}))
            targets[node.model] = (*targets.get(node.model, ()), target)
        elif node.stage == "declare_members":
            declared[node.model] = builder.pools(node, data, builder.add(node, stage, inputs))
        elif node.stage == "import":
            targets[node.model] = (Target(declared[node.model], builder.add(node, stage, inputs)),)
    made = Plan(f"{suite.name}, tuning", suite.hash, tuple(builder.nodes.values()))
    return Ground(made, targets, judges, priors[0] if priors else "", seed)


def _prior(attack: Evasion | Inversion) -> object:
    """JSON of what the attack learned from auxiliary images; None if it needs nothing."""
    if isinstance(attack, Evasion) or attack.learned_prior is None:
        return None
    return registry.dump("prior", attack.learned_prior)
