"""Joins the replicas of a model: each number over all of them, with its interval. The unit is the trained model."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from benchmark import stats
from benchmark.aggregation import (
    audits,
    best_known,
    image_tables,
    intervals_over_samples,
    medians_over_images,
    paired_images,
    recut_nulls,
)
from benchmark.aggregation.finished_trial import Done, common_note, pair_of, spaces_of
from benchmark.aggregation.intervals_over_samples import interval_row
from benchmark.aggregation.pair_cuts import PairCuts
from benchmark.aggregation.paired_images import ONE_PAIR
from benchmark.aggregation.strongest_membership import strongest
from benchmark.aggregation.suite_results import SuiteResults
from benchmark.evasion.gradient_masking import HUGE_EPSILON_ACCURACY, AttackAccuracy, masking_reasons
from benchmark.memorization.controls import CONTROLS, NULL_CONTROLS, NULL_LEVEL, ControlRate, verdicts
from benchmark.metrics import STAGES, STRONGEST, Join, Metric, measured_by
from benchmark.stats import Scored
from benchmark.trials.trial import Row

CONTROL_MODELS = ("memoriser", "untrained", "injected")
"""As plans call them."""
HUGE_LINF = 0.5
"""A linf ball of this radius reaches uniform grey from every image."""


def model_rows(results: SuiteResults, cuts: PairCuts, model: str) -> Iterator[Row]:
    """Every number of a model over its replicas, as rows with a `stage`: those that `METRICS` declares, and others."""
    for stage in STAGES:
        joined: dict[tuple[str, ...], list[Row]] = {}
        for method in results.methods(model, stage):
            trials = results.of(model, stage, method)
            rows = joined[_keys(trials)] = list(_joined(results, cuts, model, stage, method, trials))
            for row in rows:
                yield {**row, "stage": stage, "method": method}
        if stage == "infer_membership":
            chosen = strongest(results, model)
            own = joined.get(_keys(chosen.trials))  # one attack is the strongest for every pair: its numbers again
            for row in own or _joined(results, cuts, model, stage, STRONGEST, chosen.trials):
                yield {**row, "stage": stage, "method": STRONGEST, "note": row.get("note") or chosen.note}
        if stage == "train":
            yield from audits.unproven(results, model)
        if stage == "evade":
            yield from _masking(results, model)
            yield from _imported(results, model)
    if (images := image_tables.image_table(results, model)) is not None:
        yield from image_tables.correlation_rows(images)


def _keys(trials: Mapping[int, Done]) -> tuple[str, ...]:
    return tuple(done.key for done in trials.values())


def _imported(results: SuiteResults, model: str) -> Iterator[Row]:
    if results.of(model, "import"):
        note = "1 replica: its intervals say nothing of other trainings"
        yield Row(stage="import", method="", space="", metric="num_replicas", value=1.0, n=1, note=note)


def control_rows(results: SuiteResults, cuts: PairCuts) -> list[tuple[str, Row]]:
    """(control model, row) of every control: its in_rate in each space, and whether it passed."""
    measured: dict[str, dict[str, Row]] = {}
    judged: dict[str, dict[str, ControlRate]] = {}
    for model in CONTROL_MODELS:
        for method in results.methods(model, "leakage"):
            control, pairs = method if model == "injected" else model, results.pairs(model, "leakage", method)
            if control not in CONTROLS:
                continue
            recut = recut_nulls.of_reconstructions(results, cuts, model, method) if control in NULL_CONTROLS else {}
            for (space, metric), values in results.cubes(model, method):
                if metric == "in_rate" and np.isfinite(values).any():
                    null = recut.get((space, metric))
                    of_cut = null and null.of_cut
                    interval = stats.share_interval(values, pairs, of_cut=of_cut)
                    row = interval_row(metric, interval, note=null and null.words())
                    measured.setdefault(control, {})[space] = row
                    rate = stats.share_interval(values, pairs, NULL_LEVEL, of_cut)
                    judged.setdefault(control, {})[space] = ControlRate(rate, null and null.p_value)
    rows: list[tuple[str, Row]] = []
    for verdict in verdicts(judged):
        shown = measured[verdict.control][verdict.space]
        place = {"stage": "control", "method": verdict.control, "space": verdict.space}
        model = verdict.control.partition("_")[0]
        rows.append((model, {**shown, **place}))  # type: ignore[typeddict-item]
        passed = Row(metric="passed", value=float(verdict.passed), n=shown["n"], note=verdict.expected)
        rows.append((model, {**passed, **place}))  # type: ignore[typeddict-item]
    return rows


def _joined(
    results: SuiteResults, cuts: PairCuts, model: str, stage: str, method: str, trials: Mapping[int, Done]
) -> Iterator[Row]:
    """One stage's metrics under one attack, each as its entry says. trials: of the replicas."""
    metrics = measured_by(stage)
    if any(metric.join in intervals_over_samples.JOINS for metric in metrics):
        yield from intervals_over_samples.rows(results, cuts, model, method, metrics)
    scored: list[Scored] | None = None
    every_attack = list(best_known.rows(results, model, method)) if stage == "evade" else []
    for metric in metrics:
        match metric.join:
            case Join.SHARED_IMAGES:
                for space in spaces_of(trials, metric.metric):
                    if rates := _shares(trials, metric.metric, space):
                        hits, sizes = zip(*rates.values(), strict=True)
                        pairs = [pair_of(replica) for replica in rates]
                        note = common_note(trials, metric.metric, space)
                        yield interval_row(metric.metric, stats.counted_rate(hits, sizes, pairs), space, note)
            case Join.MEDIANS:
                yield from medians_over_images.rows(trials, metric.metric)
            case Join.DIFFERENCE:
                inside, outside = (_counts(trials, name) for name in metric.of)
                if inside and inside.keys() == outside.keys():
                    (k_in, n_in), (k_out, n_out) = (tuple(zip(*of.values(), strict=True)) for of in (inside, outside))
                    pairs = [pair_of(replica) for replica in inside]
                    yield interval_row(metric.metric, stats.counted_difference(k_in, n_in, k_out, n_out, pairs))
            case Join.EVERY_ATTACK:
                yield from (row for row in every_attack if row["metric"] == metric.metric)
            case Join.PAIRED_IMAGES:
                yield from paired_images.rows(results, model, metric.metric)
            case Join.SCORES if trials:
                scored = scored or [results.scores(done).scored for done in trials.values()]
                yield _of_scores(metric, scored)
            case Join.AUDIT:
                yield from audits.rows(results, model, trials)
            case Join.MEAN:
                yield from _mean_of_replicas(trials, metric.metric)
    declared = [metric.metric for metric in metrics if metric.join is Join.RECUT]
    if stage == "infer_membership" and declared:
        judged = recut_nulls.of_scores(results, cuts, model, trials)
        yield from recut_nulls.rows({("", "membership_auc"): judged} if judged else {}, declared)


def _of_scores(metric: Metric, scored: Sequence[Scored]) -> Row:
    note = ONE_PAIR if len({replica.pair for replica in scored}) == 1 else None
    try:
        return interval_row(metric.metric, metric.load()(scored), note=note)
    except ValueError as error:  # what these scores cannot tell: empty, with the reason
        return Row(space="", metric=metric.metric, value=None, n=len(scored[0].scores), note=str(error))


def _counts(trials: Mapping[int, Done], metric: str) -> dict[int, tuple[int, int]]:
    """Replica -> (hits, units) of a rate, of those that have it."""
    return {replica: found for replica, done in trials.items() if (found := done.counted(metric))}


def _shares(trials: Mapping[int, Done], metric: str, space: str) -> dict[int, tuple[float, int]]:
    """The same in one space, hits fractional where each unit has a share."""
    return {replica: found for replica, done in trials.items() if (found := done.shares(metric, space))}


def _mean_of_replicas(trials: Mapping[int, Done], metric: str) -> Iterator[Row]:
    """Mean of numbers that a replica has once a space; too few for an interval."""
    values: dict[str, list[float]] = {}
    for done in trials.values():
        for row in done.rows:
            if row["metric"] == metric and row["value"] is not None:
                values.setdefault(row["space"], []).append(row["value"])
    for space, found in values.items():
        yield Row(space=space, metric=metric, value=float(np.mean(found)), n=len(found))


def _masking(results: SuiteResults, model: str) -> Iterator[Row]:
    """Whether gradients may be masked, by all attacks of the suite and the probes; the note gives the reasons."""
    probes = _probes(results, model)
    attacks: list[AttackAccuracy] = []
    huge: AttackAccuracy | None = None
    climbing: AttackAccuracy | None = None
    losses: Sequence[float] | None = None
    for attack in results.about["evasion"]:
        trials = results.of(model, "evade", attack["label"])
        right, total = _pooled(trials, "robust_accuracy")
        if not total or attack["kind"] == "given":  # made with whatever means, of some images
            continue
        alone, of = _pooled(trials, "only_black_box")
        ball = attack["norm"], attack["epsilon"]
        found = AttackAccuracy(attack["label"], attack["kind"], *ball, right + alone, total, alone if of else None)
        attacks.append(found)
        if found.kind == "iterated" and found.norm == "linf" and found.epsilon >= HUGE_LINF:
            huge = min(huge or found, found, key=_left)  # the stronger of two: fewer steps may not reach every image
        # Fooled images stop climbing; where nearly all are, the mean says nothing of further steps.
        if found.kind == "iterated" and _left(found) > HUGE_EPSILON_ACCURACY and _same_ball(climbing or found, found):
            curve = results.curve(next(iter(trials.values())).key)
            if len(curve) >= 3 and len(curve) > len(losses or ()):  # of two in one ball, that of more steps
                climbing, losses = found, curve
    if attacks or any(probes.values()):
        reasons = masking_reasons(attacks, huge, losses, probes)
        note = "; ".join(reasons) or None
        yield Row(stage="masking", method="", metric="masking_suspected", value=float(bool(reasons)), note=note)


def _probes(results: SuiteResults, model: str) -> dict[str, tuple[int, int]]:
    """What a probe looks for -> (test images at which it was found, images), over all replicas."""
    trials = results.of(model, "probe")
    return {metric.metric: _pooled(trials, metric.metric) for metric in measured_by("probe")} if trials else {}


def _pooled(trials: Mapping[int, Done], metric: str) -> tuple[int, int]:
    """(hits, units) of a rate, over all replicas."""
    pairs = list(_counts(trials, metric).values())
    return sum(hits for hits, _ in pairs), sum(units for _, units in pairs)


def _left(attack: AttackAccuracy) -> float:
    return attack.num_robust / attack.num_images


def _same_ball(one: AttackAccuracy, other: AttackAccuracy) -> bool:
    return (one.norm, one.epsilon) == (other.norm, other.epsilon)
