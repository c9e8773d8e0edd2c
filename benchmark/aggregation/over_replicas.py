"""A model's numbers over all its replicas, each with its interval. The unit is the trained model."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from benchmark import stats
from benchmark.aggregation.suite_results import Done, SuiteResults, counted
from benchmark.evasion.gradient_masking import HUGE_EPSILON_ACCURACY, AttackAccuracy, masking_reasons
from benchmark.memorization.controls import CONTROLS, NULL_LEVEL, verdicts
from benchmark.stages.shared.samples import mean_interval, mean_row
from benchmark.stats import Interval
from benchmark.trials.trial import Row

HUGE_LINF = 0.5
"""A linf ball of this radius reaches uniform grey from every image."""


def model_rows(results: SuiteResults, model: str) -> Iterator[Row]:
    """Every number of a model over its replicas, as rows with a `stage`."""
    yield from _accuracy(results.of(model, "predict"), "predict", "", results.name)
    for method in results.methods(model, "evade"):
        yield from _accuracy(results.of(model, "evade", method), "evade", method, results.name)
    yield from _masking(results, model)
    if results.of(model, "import"):
        note = "1 replica: its intervals say nothing of other trainings"
        yield Row(stage="import", method="", space="", metric="num_replicas", value=1.0, n=1, note=note)
    for method in results.methods(model, "leakage"):
        for row in _leakage(results, model, method):
            yield {**row, "stage": "leakage", "method": method}
    for method in results.methods(model, "infer_membership"):
        for row in _membership(results, model, method):
            yield {**row, "stage": "infer_membership", "method": method}


def control_rows(results: SuiteResults) -> list[tuple[str, Row]]:
    """(control model, row) of every control: its in_rate in each space, and whether it passed."""
    measured: dict[str, dict[str, Interval]] = {}
    judged: dict[str, dict[str, Interval]] = {}
    for model in ("memoriser", "untrained", "injected"):
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


def _accuracy(trials: Mapping[int, Done], stage: str, method: str, seed: str) -> Iterator[Row]:
    """Rates of images that all replicas share, and the gaps between them."""
    if not trials:
        return
    counts: dict[str, list[tuple[int, int]]] = {}
    for done in trials.values():
        for row in done.rows:
            if row["metric"].endswith(("accuracy", "accuracy_members")) and (pair := counted(row)):
                counts.setdefault(row["metric"], []).append(pair)
    place = {"stage": stage, "method": method}
    for metric, pairs in counts.items():
        hits, sizes = zip(*pairs, strict=True)
        yield _row(metric, stats.replicated_rate(hits, max(sizes), _seed(seed, stage, method, metric)), place)
    for gap, inside, outside in (
        ("generalization_gap", "member_accuracy", "clean_accuracy"),
        ("robust_generalization_gap", "robust_accuracy_members", "robust_accuracy"),
    ):
        if inside in counts and len(counts[inside]) == len(counts.get(outside, ())):
            (k_in, n_in), (k_out, n_out) = (tuple(zip(*counts[m], strict=True)) for m in (inside, outside))
            difference = stats.replicated_difference(k_in, n_in, k_out, n_out, _seed(seed, stage, method, gap))
            yield _row(gap, difference, place)


def _leakage(results: SuiteResults, model: str, method: str) -> Iterator[Row]:
    accuracy: dict[str, Row] = {}
    for (space, metric), values in results.cubes(model, method):
        row = mean_row(space, metric, values, f"{results.name}/{model}/{method}/{space}/{metric}")
        yield row
        if metric == "evaluator_accuracy":
            accuracy[space] = row
        if metric == "in_rate" and np.isfinite(values).any():
            p = stats.swap_test(values, _seed(results.name, model, method, space))
            note = "swapping IN and OUT of each (replica, class); replicas are few"
            yield Row(space=space, metric="in_rate_p_value", value=p, n=int(np.isfinite(values).sum()), note=note)
    if len(accuracy) == 2:
        smaller = min(accuracy, key=lambda space: accuracy[space]["value"] or 0.0)
        yield {**accuracy[smaller], "space": "", "note": f"smaller of the two evaluators: {smaller}"}
    for scalar in ("exposure_gini", "exposure_effective_number", "distance_ratio"):
        yield from _mean_of_replicas(results.of(model, "leakage", method), scalar)


def _mean_of_replicas(trials: Mapping[int, Done], metric: str) -> Iterator[Row]:
    """Mean of numbers that a replica has once a space; too few for an interval."""
    values: dict[str, list[float]] = {}
    for done in trials.values():
        for row in done.rows:
            if row["metric"] == metric and row["value"] is not None:
                values.setdefault(row["space"], []).append(row["value"])
    for space, found in values.items():
        yield Row(space=space, metric=metric, value=float(np.mean(found)), n=len(found))


def _membership(results: SuiteResults, model: str, method: str) -> Iterator[Row]:
    trials = results.of(model, "infer_membership", method)
    scored = [results.scores(done.key) for done in trials.values()]
    yield _row("membership_auc", stats.replicated_auc(scored), {})
    yield from _mean_of_replicas(trials, "membership_balanced_accuracy")
    for metric in ("tpr_at_1pct_fpr", "tpr_at_0_1pct_fpr"):
        rows = [row for done in trials.values() if (row := done.row(metric)) is not None]
        empty = next((row for row in rows if row["value"] is None), None)
        if empty is not None:
            yield Row(metric=metric, value=None, n=empty["n"], note=empty["note"])
            continue
        pairs = [pair for row in rows if (pair := counted(row))]
        if pairs:
            least = min(n for _, n in pairs)
            hits = [min(k, least) for k, _ in pairs]
            yield _row(metric, stats.replicated_rate(hits, least, _seed(results.name, model, metric)), {})


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


def _seed(*parts: str) -> int:
    return int.from_bytes(hashlib.sha256("/".join(parts).encode()).digest()[:4], "big")
