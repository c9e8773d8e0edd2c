"""One call of `bench tune`: from a suite to the settings with which each of its models is attacked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmark.inversion.attack import Inversion
from benchmark.planning.plan import Node, Plan
from benchmark.planning.suite import Suite, with_settings
from benchmark.reading.text import shown
from benchmark.results.store import Store
from benchmark.search_space import Space
from benchmark.spec import SpecError, suggest
from benchmark.tuning.objective import FOOLED, RECOGNISED, Evaluation, Score, evaluation
from benchmark.tuning.search import Candidate, Search, draw, rungs
from benchmark.tuning.unreported_models import lay


@dataclass(frozen=True)
class Tuned:
    """What the search found for a model. untuned, tuned: on the confirming target, from starts the search never saw.

    settings: empty where the suite's own did as well there. evaluations: how many of each size.
    """

    model: str
    settings: Mapping[str, Any]
    untuned: Score
    tuned: Score
    evaluations: Mapping[int, int]
    num_failed: int


def choose(suite: Suite, label: str | None) -> str:
    """Label of the attack to tune, by default the primary inversion. Raises SpecError in one line."""
    attacks = suite.attacks()
    label = next(iter(attacks)) if label is None else label
    if label not in attacks:
        raise SpecError(f"--attack: {shown(label)} is no attack of the suite{suggest(label, attacks)}")
    if not attacks[label].search_space:
        some = [name for name, attack in attacks.items() if attack.search_space]
        raise SpecError(f"--attack: {label!r} has no settings to search; allowed: {', '.join(some) or 'none here'}")
    return label


class Session:
    """label: of the attack. budget: evaluations of its full size that each model gets. seed: any but the suite's.

    Raises SpecError for a seed that is the suite's, and for a search space with settings that the attack refuses.
    """

    def __init__(self, suite: Suite, plan: Plan, label: str, budget: int, seed: int) -> None:
        if seed == suite.seed:
            raise SpecError(f"--seed: {seed} is the suite's own, whose models are reported; allowed: any other")
        self.suite, self.label, self.seed = suite, label, seed
        self.attack = attack = suite.attacks()[label]
        self.ground = lay(suite, plan, attack, seed)
        whole = attack.samples_per_class if isinstance(attack, Inversion) else suite.evaluation.num_images
        self.sizes = rungs(whole)
        most = budget * whole // self.sizes[0]
        self._settings = [draw(self.space, seed, index) for index in range(most)]
        self._attacks = [with_settings(attack, settings) for settings in self._settings]
        names = tuple(model.name for model in suite.models)
        self.search = Search(names, self.sizes, budget * whole, self._settings.__getitem__)

    @property
    def unit(self) -> str:
        """What the budget is counted in."""
        return "samples a class" if isinstance(self.attack, Inversion) else "images"

    @property
    def objective(self) -> str:
        return RECOGNISED if isinstance(self.attack, Inversion) else FOOLED

    @property
    def external(self) -> list[str]:
        """Models that are searched on themselves, since nobody else could train a second one."""
        return [model for model, targets in self.ground.targets.items() if len(targets) == 1]

    @property
    def space(self) -> Space:
        return self.attack.search_space

    def work(self, candidate: Candidate) -> tuple[Evaluation, ...]:
        """The evaluation of each rung, on the model's first target."""
        target, attack = self.ground.targets[candidate.model][0], self._attacks[candidate.index]
        return tuple(evaluation(self.ground, attack, target, size, self.seed) for size in self.sizes)

    def confirmation(self, candidate: Candidate) -> Evaluation:
        """Its full size again, on the model's last target and from other starts."""
        target, attack = self.ground.targets[candidate.model][-1], self._attacks[candidate.index]
        return evaluation(self.ground, attack, target, self.sizes[-1], self.seed + 1)

    def confirmations(self) -> Plan:
        """The trials that compare, for every model, the suite's settings with the best found."""
        nodes = {node.key: node for node in self.ground.plan.nodes}
        for model in self.search.models:
            for candidate in self._compared(model):
                for trial in self.confirmation(candidate).trials:
                    stage = trial.stage["method"]
                    nodes[trial.key] = Node(trial, trial.key, stage, self.label, model, None, 1.0)
        return Plan(self.ground.plan.suite, self.ground.plan.suite_hash, tuple(nodes.values()))

    def results(self, store: Store) -> list[Tuned]:
        """A model each, in the suite's order. The confirmations must be done.

        The search's own numbers are those of the luckiest of many, so they are not given out. Where the confirmation
        does not bear the best found out, the suite's settings stay.
        """
        found = []
        for model in self.search.models:
            own, best = self._compared(model)
            scores = [self.confirmation(candidate).score(store) for candidate in (own, best)]
            better = scores[1].merit > scores[0].merit
            candidates = self.search.candidates[model]
            evaluations = {size: sum(rung in c.merits for c in candidates) for rung, size in enumerate(self.sizes)}
            failed = sum(bool(candidate.error) for candidate in candidates)
            settings = self._settings[best.index] if better else {}
            found.append(Tuned(model, settings, scores[0], scores[better], evaluations, failed))
        return found

    def passes(self, results: list[Tuned]) -> int:
        """Passes through the target that the search allowed each model."""
        num = {result.untuned.num for result in results}
        assert len(num) == 1, num
        return self.search.budget * num.pop() // self.sizes[-1] * self.attack.passes

    def _compared(self, model: str) -> tuple[Candidate, Candidate]:
        return self.search.candidates[model][0], self.search.best(model)
