"""Decides what a random search evaluates next: the same budget for every model, with poor candidates stopped early.

Pure bookkeeping: what is evaluated next, what it costs, what was best. Who evaluates, and who stops, is outside.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmark.search_space import Space
from benchmark.trials import trial

FIRST_SHARE = 4
"""The first rung of an evaluation has a quarter of its samples, at the most."""


def rungs(full: int) -> tuple[int, ...]:
    """Sizes of an evaluation: a first look, then the whole.

    The first divides the whole, so that whatever mixture of both a budget buys, nothing of it is left over.
    """
    first = next(size for size in range(max(1, full // FIRST_SHARE), 0, -1) if full % size == 0)
    return (first, full) if first < full else (full,)


def draw(space: Space, seed: int, index: int) -> dict[str, Any]:
    """Settings number `index` of a random search: the same for every model, and for every budget."""
    if not index:
        return {}  # the suite's own come first
    generator = trial.generator(f"{seed}", f"settings {index}")
    import torch

    places = torch.rand(len(space), generator=generator, dtype=torch.float64).tolist()
    return {name: values.at(u) for (name, values), u in zip(sorted(space.items()), places, strict=True)}


@dataclass
class Candidate:
    """Settings number `index` on one model. merits: rung -> what was measured; -1 for a failure, with its reason.

    stopped: by the scheduler, for it did worse than others.
    """

    model: str
    index: int
    settings: Mapping[str, Any]
    merits: dict[int, float] = field(default_factory=dict)
    error: str = ""
    stopped: bool = False


@dataclass
class Search:
    """How much of its budget each model has spent.

    sizes: of the rungs. budget: a model's, in samples (a class) or images. allowed: whether the attack takes the
    settings; others are drawn again.
    """

    models: tuple[str, ...]
    sizes: tuple[int, ...]
    budget: int
    propose: Callable[[int], Mapping[str, Any]]
    spent: dict[str, int] = field(init=False)
    candidates: dict[str, list[Candidate]] = field(init=False)
    _busy: set[str] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        assert self.budget % self.sizes[0] == 0 and self.budget >= sum(self.sizes)
        self.spent = dict.fromkeys(self.models, 0)
        self.candidates = {model: [] for model in self.models}

    def take(self) -> Candidate | None:
        """The next settings to evaluate, of a model that has none running; None if there is no such model now.

        One at a time for each model: what is stopped then depends on results alone, never on which came first.
        """
        for model in self.models:
            if model not in self._busy and self.can_pay(model, 0):
                index = len(self.candidates[model])
                candidate = Candidate(model, index, self.propose(index))
                self.candidates[model].append(candidate)
                self._busy.add(model)
                return candidate
        return None

    @property
    def is_spent(self) -> bool:
        return not self._busy and not any(self.can_pay(model, 0) for model in self.models)

    def can_pay(self, model: str, rung: int) -> bool:
        return self.spent[model] + self.sizes[rung] <= self.budget

    def record(self, candidate: Candidate, rung: int, merit: float, error: str = "") -> None:
        """A rung of a candidate was evaluated; twice, if its worker was lost, but paid for once."""
        if rung not in candidate.merits:
            self.spent[candidate.model] += self.sizes[rung]
        candidate.merits[rung], candidate.error = merit, error

    def goes_on(self, candidate: Candidate) -> bool:
        """Whether the candidate has a next rung that the budget can pay."""
        following = len(candidate.merits)
        going = not candidate.error and not candidate.stopped
        return going and following < len(self.sizes) and self.can_pay(candidate.model, following)

    def release(self, candidate: Candidate) -> None:
        self._busy.discard(candidate.model)

    def best(self, model: str) -> Candidate:
        """The best of those evaluated in full; the first of equals, so that the suite's own settings win a tie."""
        whole = [c for c in self.candidates[model] if len(c.merits) == len(self.sizes) and not c.error]
        if not whole:
            reason = self.candidates[model][0].error
            raise ValueError(f"{model!r}: the attack fails with the suite's own settings: {reason}")
        return max(whole, key=lambda candidate: candidate.merits[len(self.sizes) - 1])  # max gives the first of equals

    def check_equal(self) -> None:
        """Every model had the whole budget, and none had more."""
        assert set(self.spent.values()) == {self.budget}, self.spent
