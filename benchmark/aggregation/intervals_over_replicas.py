"""Joins the replicas of a model: each number over all of them, with its interval. The unit is the trained model."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from benchmark import stats
from benchmark.aggregation import image_tables, intervals_over_samples
from benchmark.aggregation.intervals_over_samples import seed_of
from benchmark.aggregation.suite_results import Done, SuiteResults, counted
from benchmark.evasion.gradient_masking import HUGE_EPSILON_ACCURACY, AttackAccuracy, masking_reasons
from benchmark.memorization.controls import CONTROLS, NULL_LEVEL, verdicts
from benchmark.metrics import STAGES, Join, measured_by
from benchmark.stages.shared.samples import mean_interval
from benchmark.stats import Interval
from benchmark.trials.trial import Row

CONTROL_MODELS = ("memoriser", "untrained", "injected")
"""As plans call them."""
HUGE_LINF = 0.5
"""A linf ball of this radius reaches uniform grey from every image."""


def model_rows(results: SuiteResults, model: str) -> Iterator[Row]:
    """Every number of a model over its replicas, as rows with a `stage`: those that `METRICS` declares, and others."""
    for stage in STAGES:
        for method in results.methods(model, stage):
            for row in _joined(results, model, stage, method):
                yield {**row, "stage": stage, "method": method}
        if stage == "evade":
            yield from _masking(results, model)
            yield from _imported(results, model)
    if (images := image_tables.image_table(results, model)) is not None:
        yield from image_tables.correlation_rows(images)


def _imported(results: SuiteResults, model: str) -> Iterator[Row]:
    if results.of(model, "import"):
        note = "1 replica: its intervals say nothing of other trainings"
        yield Row(stage="import", method="", space="", metric="num_replicas", value=1.0, n=1, note=note)


def control_rows(results: SuiteResults) -> list[tuple[str, Row]]:
    """(control model, row) of every control: its in_rate in each space, and whether it passed."""
    measured: dict[str, dict[str, Interval]] = {}
    judged: dict[str, dict[str, Interval]] = {}
    for model in CONTROL_MODELS:
        for method in results.methods(model, "leakage"):
            control = method if model == "injected" else model
            for (space, metric), values in results.cubes(model, method):
                if metric == "in_rate" and control in CONTROLS:
                    seed = f"{results.name}/{control}/{space}"
                    measured.setdefault(control, {})[space] = mean_interval(metric, values, seed)
                    judged.setdefault(control, {})[space] = mean_interval(metric, values, seed, NULL_LEVEL)
    rows: list[tuple[str, Row]] = []
    for verdict in verdicts(judged):
        rate = measured[verdict.control][verdict.space]
        place = {"stage": "control", "method": verdict.control, "space": verdict.space}
        model = verdict.control.partition("_")[0]
        rows.append((model, _row("in_rate", rate, place)))
        passed = Row(metric="passed", value=float(verdict.passed), n=rate.n, note=verdict.expected)
        rows.append((model, {**passed, **place}))  # type: ignore[typeddict-item]
    return rows


def _joined(results: SuiteResults, model: str, stage: str, method: str) -> Iterator[Row]:
    """One stage's metrics under one attack, each as its entry says."""
    metrics, trials = measured_by(stage), results.of(model, stage, method)
    if any(metric.join in intervals_over_samples.JOINS for metric in metrics):
        yield from intervals_over_samples.rows(results, model, method, metrics)
    for metric in metrics:
        seed = seed_of(results.name, stage, method, metric.metric)
        match metric.join:
            case Join.SHARED_IMAGES:
                if pairs := _counts(trials, metric.metric):
                    hits, sizes = zip(*pairs, strict=True)
                    yield _row(metric.metric, stats.replicated_rate(hits, max(sizes), seed), {})
            case Join.DIFFERENCE:
                inside, outside = (_counts(trials, name) for name in metric.of)
                if inside and len(inside) == len(outside):
                    (k_in, n_in), (k_out, n_out) = (tuple(zip(*pairs, strict=True)) for pairs in (inside, outside))
                    yield _row(metric.metric, stats.replicated_difference(k_in, n_in, k_out, n_out, seed), {})
            case Join.SCORES:
                scored = [results.scores(done.key) for done in trials.values()]
                yield _row(metric.metric, metric.load()(scored), {})
            case Join.MEMBERS_FOUND:
                yield from _members_found(trials, metric.metric, seed_of(results.name, model, metric.metric))
            case Join.MEAN:
                yield from _mean_of_replicas(trials, metric.metric)


def _counts(trials: Mapping[int, Done], metric: str) -> list[tuple[int, int]]:
    """(hits, units) of a rate in each replica that has it."""
    rows = [row for done in trials.values() for row in done.rows if row["metric"] == metric]
    return [pair for row in rows if (pair := counted(row))]


def _mean_of_replicas(trials: Mapping[int, Done], metric: str) -> Iterator[Row]:
    """Mean of numbers that a replica has once a space; too few for an interval."""
    values: dict[str, list[float]] = {}
    for done in trials.values():
        for row in done.rows:
            if row["metric"] == metric and row["value"] is not None:
                values.setdefault(row["space"], []).append(row["value"])
    for space, found in values.items():
        yield Row(space=space, metric=metric, value=float(np.mean(found)), n=len(found))


def _members_found(trials: Mapping[int, Done], metric: str, seed: int) -> Iterator[Row]:
    """Mean of the rates of found members; empty, with the reason, where one replica's is."""
    rows = [row for done in trials.values() if (row := done.row(metric)) is not None]
    empty = next((row for row in rows if row["value"] is None), None)
    if empty is not None:
        yield Row(metric=metric, value=None, n=empty["n"], note=empty["note"])
        return
    pairs = [pair for row in rows if (pair := counted(row))]
    if pairs:
        least = min(n for _, n in pairs)
        yield _row(metric, stats.replicated_rate([min(k, least) for k, _ in pairs], least, seed), {})


def _masking(results: SuiteResults, model: str) -> Iterator[Row]:
    """Whether gradients may be masked, over all attacks of the suite; the note gives the reasons."""
    attacks: list[AttackAccuracy] = []
    huge: AttackAccuracy | None = None
    climbing: AttackAccuracy | None = None
    losses: Sequence[float] | None = None
    for attack in results.about["evasion"]:
        trials = results.of(model, "evade", attack["label"])
        pairs = [pair for done in trials.values() if (pair := done.counted("robust_accuracy"))]
        if not pairs:
            continue
        right, total = sum(k for k, _ in pairs), sum(n for _, n in pairs)
        found = AttackAccuracy(attack["label"], attack["kind"], attack["norm"], attack["epsilon"], right, total)
        attacks.append(found)
        if found.kind == "iterated" and found.norm == "linf" and found.epsilon >= HUGE_LINF:
            huge = min(huge or found, found, key=_left)  # the stronger of two: fewer steps may not reach every image
        # Fooled images stop climbing; where nearly all are, the mean says nothing of further steps.
        if found.kind == "iterated" and _left(found) > HUGE_EPSILON_ACCURACY and _same_ball(climbing or found, found):
            curve = results.curve(next(iter(trials.values())).key)
            if len(curve) >= 3 and len(curve) > len(losses or ()):  # of two in one ball, that of more steps
                climbing, losses = found, curve
    if attacks:
        reasons = masking_reasons(attacks, huge, losses)
        note = "; ".join(reasons) or None
        yield Row(stage="masking", method="", metric="masking_suspected", value=float(bool(reasons)), note=note)


def _left(attack: AttackAccuracy) -> float:
    return attack.num_robust / attack.num_images


def _same_ball(one: AttackAccuracy, other: AttackAccuracy) -> bool:
    return (one.norm, one.epsilon) == (other.norm, other.epsilon)


def _row(metric: str, interval: Interval, place: Mapping[str, Any]) -> Row:
    row = Row(metric=metric, value=interval.value, low=interval.low, high=interval.high, n=interval.n)
    return {**row, **place}  # type: ignore[typeddict-item]
