"""Stages `robustness_curve` and `corrupt` on replicas of the tiny run, in this process; nothing is written."""

from typing import Any

from finished import Finished

from benchmark.registry import dump
from benchmark.stages.corrupt import Corrupt
from benchmark.stages.measure_robustness_curve import RobustnessCurve
from benchmark.trials.trial import Outcome, Settings, Trial, execute


def ran(finished: Finished, model: str, stage: RobustnessCurve | Corrupt, attacks: tuple[str, ...] = ()) -> Outcome:
    """On replica 0. attacks: labels of the evasion trials that it reads."""
    inputs = {"pools": finished.key("pools"), "target": finished.key("train", model, 0)}
    inputs |= {f"evade_{i}": finished.key("evade", model, 0, label) for i, label in enumerate(attacks)}
    return execute(Trial(dump("stage", stage), 0, inputs), finished.store, settings(finished))


def settings(finished: Finished) -> Settings:
    return Settings(str(finished.store.root), device="cpu")


def by_space(outcome: Outcome, metric: str) -> dict[str, Any]:
    return {row.get("space", ""): row for row in outcome.rows if row["metric"] == metric}
