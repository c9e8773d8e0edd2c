"""Scores one choice of settings: the trials that evaluate it, and the number that the search raises."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmark import registry
from benchmark.evasion.attack import Evasion
from benchmark.inversion.attack import Inversion
from benchmark.planning.suite import Attack
from benchmark.results.store import Store
from benchmark.running.executors.worker import run_trial
from benchmark.trials.trial import Settings, Trial
from benchmark.tuning.unreported_models import Ground, Target

RECOGNISED, FOOLED = "evaluator_accuracy", "attack_success_rate"
_TIE = 1e-6
"""Weight of the tie-breaker; rates of up to 100,000 samples differ by more than it."""


@dataclass(frozen=True)
class Score:
    """value: evaluator_accuracy of the stricter judge, or attack_success_rate, with its 95% interval.

    tie: decides between equal values: the target's own confidence. num: reconstructions or images.
    """

    value: float
    low: float
    high: float
    tie: float
    num: int

    @property
    def merit(self) -> float:
        """The number that a search raises."""
        return self.value + _TIE * self.tie


class Failed(Exception):
    """An evaluation gave no score. fatal: no other evaluation would give one, either."""

    def __init__(self, reason: str, fatal: bool = False) -> None:
        self.fatal = fatal
        super().__init__(reason)


@dataclass(frozen=True)
class Evaluation:
    """An attack on one target. trials: parents first, the last has the score. size: samples a class, or images."""

    trials: tuple[Trial, ...]
    size: int

    def compute(self, settings: Settings) -> None:
        """Run what the store lacks, in this process. Raises Failed."""
        store = Store(settings.results)
        for trial in self.trials:
            if store.has(trial.key):
                continue
            finished = run_trial(trial, settings)
            if not finished.ok:
                reason = finished.error.strip().splitlines()[-1]
                # Where memory is short is no fault of the settings.
                raise Failed(reason, fatal=finished.full or bool(finished.corrupt or finished.loss))

    def score(self, store: Store) -> Score:
        """The score of an evaluation. Raises Failed where the rate is undefined."""
        rows: list[dict[str, Any]] = store.rows(self.trials[-1].key).to_pylist()
        rates = [row for row in rows if row["metric"] in (RECOGNISED, FOOLED)]
        undefined = next((row for row in rates if row["value"] is None), None)
        if undefined is not None:
            raise Failed(f"{undefined['metric']} is undefined: {undefined['note']}")
        worst = min(rates, key=lambda row: float(row["value"]))
        tie = next((float(row["value"]) for row in rows if row["metric"] == "target_confidence"), 0.0)
        attacked = store.rows(self.trials[0].key).to_pylist()
        num = next(row["n"] for row in attacked if row["metric"] in ("target_confidence", "robust_accuracy"))
        return Score(worst["value"], worst["low"], worst["high"], tie, num)


def evaluation(ground: Ground, attack: Attack, target: Target, size: int, seed: int) -> Evaluation:
    """The trials of one evaluation. size: samples a class of an inversion, images of an evasion. seed: of its draws."""
    attacked = {"pools": target.pools, "target": target.model}
    if isinstance(attack, Evasion):
        stage = {"method": "evade", "attack": registry.dump("evasion", attack), "num_images": size}
        return Evaluation((_trial(stage, seed, attacked),), size)
    assert isinstance(attack, Inversion)
    sized = attack.model_copy(update={"samples_per_class": size})
    prior = {"prior": ground.prior} if ground.prior else {}
    stage = {"method": "invert", "attack": registry.dump("inversion", sized)}
    invert = _trial(stage, seed, {**attacked, **prior})
    judged = {"pools": target.pools, "inversion": invert.key, **ground.judges}
    return Evaluation((invert, _trial({"method": "recognise"}, seed, judged)), size)


def _trial(stage: Mapping[str, Any], seed: int, inputs: Mapping[str, str]) -> Trial:
    return Trial(registry.dump("stage", registry.parse("stage", dict(stage))), seed, inputs)
