"""Membership attacks: their scores from margins where they are simple, and every rate from the scores."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score, roc_curve

from benchmark.metrics import STRONGEST
from benchmark.rederivation import recut
from benchmark.rederivation.audit import audited
from benchmark.rederivation.kept import Arrays, Kept, Node
from benchmark.rederivation.numbers import CLOSE, Check, Number, Place, mean
from benchmark.rederivation.scores import score_of

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
RATES = {"tpr_at_1pct_fpr": 0.01, "tpr_at_0_1pct_fpr": 0.001}
_FALSE_ALARMS = 10
_PRIOR = 0.1
_MOST_SHADOWS = 8
_MEANS = ("membership_balanced_accuracy", "membership_precision", "shadow_auc")


class Judged(NamedTuple):
    """score, member: (N,) of the images that a replica is judged on. table: of all its images, judged: which count."""

    node: Node
    score: Floats
    member: Bools
    judged: Bools
    table: Arrays


def scores(kept: Kept) -> Iterator[Check]:
    """The stored table of every trial: who is a member, who is judged, and the scores of attacks that are known."""
    for node in kept.of("infer_membership"):
        table, queries, where = kept.table(node.key, "scores"), kept.queries(node), node.place("").words()
        own = queries[node.settings["replica"]]
        counts = own["is_member"] | (own["is_out"] & own["never_seen"])
        wrong = (table["is_member"] != own["is_member"]) | (table["judged"] != counts)
        yield Check("who is judged", float(wrong.sum()), 0.5, where)
        attack, shadows = (
            score_of(node.settings["attack"], len(queries)),
            _shadows(queries, node.settings["replica"] // 2),
        )
        if attack is not None:
            gap = np.abs(attack(own, shadows) - table["score"]) / np.maximum(1, np.abs(table["score"]))
            yield Check("membership score, each image", float(gap.max()), CLOSE, where)


def numbers(kept: Kept) -> Iterator[Number]:
    """The rows of every trial, then those over replicas of each attack, and of the strongest."""
    for model in dict.fromkeys(node.model for node in kept.of("infer_membership")):
        found = [judged(kept, node) for node in kept.of("infer_membership", model)]
        for one in found:
            yield from _of_trial(kept, one)
        methods = list(dict.fromkeys(one.node.method for one in found))
        groups = {method: [one for one in found if one.node.method == method] for method in methods}
        groups[STRONGEST] = strongest(kept, found)
        for method, own in groups.items():
            if own:
                yield from _over_replicas(kept, Place(model, None, "infer_membership", method, "", ""), own)


def judged(kept: Kept, node: Node) -> Judged:
    """What a trial of `infer_membership` kept."""
    table = kept.table(node.key, "scores")
    counts = table["judged"]
    return Judged(node, table["score"][counts], table["is_member"][counts], counts, table)


def _of_trial(kept: Kept, one: Judged) -> Iterator[Number]:
    place, members = one.node.place, int(one.member.sum())
    yield Number(place("membership_auc"), float(roc_auc_score(one.member, one.score)))
    for metric, rate in RATES.items():
        found = _tpr(one.score, one.member, rate)
        if found is None:
            yield Number(place(metric), None)
        else:
            yield Number(place(metric), found, *binomtest(round(found * members), members).proportion_ci())
    queries = kept.queries(one.node)
    attack = score_of(one.node.settings["attack"], len(queries))
    if attack is None:
        return
    pair = one.node.settings["replica"] // 2
    others = [replica for replica in queries if replica // 2 != pair][:_MOST_SHADOWS]
    if len({replica // 2 for replica in queries if replica // 2 != pair}) <= attack.num_pairs:
        yield from (Number(place(metric), None) for metric in _MEANS)
        return
    parts = []
    for replica in others:
        shadow, rest = queries[replica], _shadows(queries, pair, replica // 2)
        known = shadow["is_member"] | shadow["never_seen"]
        parts.append((attack(shadow, rest)[known], shadow["is_member"][known]))
    yield Number(place("shadow_auc"), mean([float(roc_auc_score(truth, score)) for score, truth in parts]))
    threshold = _threshold(*(np.concatenate(part) for part in zip(*parts, strict=True)))
    called = one.score > threshold
    yield Number(place("membership_balanced_accuracy"), float(balanced_accuracy_score(one.member, called)))
    hits, alarms = called[one.member].mean() * _PRIOR, called[~one.member].mean() * (1 - _PRIOR)
    yield Number(place("membership_precision"), float(hits / (hits + alarms)) if called.any() else None)


def _shadows(queries: dict[int, Arrays], *pairs: int) -> list[Arrays]:
    return [query for replica, query in queries.items() if replica // 2 not in pairs]


def _threshold(score: Floats, member: Bools) -> float:
    """Half-way between two scores, of the highest balanced accuracy; the highest of equals."""
    false, true, steps = roc_curve(member, score, drop_intermediate=False)
    gain = np.round((true - false) * member.sum() * (~member).sum())
    best = int(gain.argmax())
    if best == 0:
        return float(score.max())
    distinct = np.unique(score)
    below = distinct[distinct < steps[best]]
    return float((steps[best] + below.max()) / 2) if len(below) else -np.inf


def _tpr(score: Floats, member: Bools, rate: float) -> float | None:
    """None where not even one false alarm is allowed."""
    false, true, _ = roc_curve(member, score, drop_intermediate=False)
    if rate * (~member).sum() < 1 - 1e-9:
        return None
    return float(true[false <= rate + 1e-12].max())


def _over_replicas(kept: Kept, place: Place, own: list[Judged]) -> Iterator[Number]:
    pairs: dict[int, list[Judged]] = {}
    for one in own:
        pairs.setdefault((one.node.replica or 0) // 2, []).append(one)
    areas = [mean([float(roc_auc_score(one.member, one.score)) for one in pair]) for pair in pairs.values()]
    yield Number(place._replace(metric="membership_auc"), mean(areas))
    joined = [_joined(pair) for pair in pairs.values()]
    for metric, rate in RATES.items():
        yield Number(place._replace(metric=metric), _pooled_tpr(joined, rate))
    scored = [(one.table, one.judged) for one in own]
    p_value = recut.of_scores(kept, [one.node for one in own], scored)
    if p_value is not None:
        yield Number(place._replace(metric="membership_auc_p_value"), p_value, tolerance=recut.noise(p_value))
    if place.method != STRONGEST:
        for metric in _MEANS:
            known = [kept.row(one.node.key, metric).get("value") for one in own]  # each is checked above
            if any(value is not None for value in known):
                yield Number(place._replace(metric=metric), mean(known))
    yield from audited(kept, place, [(one.node, one.table) for one in own])


def _joined(pair: list[Judged]) -> tuple[Floats, Bools]:
    return np.concatenate([one.score for one in pair]), np.concatenate([one.member for one in pair])


def _pooled_tpr(joined: list[tuple[Floats, Bools]], rate: float) -> float | None:
    """Mean over pairs at their own thresholds, or where one has too few non-members at a threshold that all share."""
    if min((~member).sum() for _, member in joined) * rate >= _FALSE_ALARMS - 1e-9:
        return mean([_tpr(score, member, rate) for score, member in joined])
    score, member = (np.concatenate(part) for part in zip(*joined, strict=True))
    if (~member).sum() * rate < _FALSE_ALARMS - 1e-9:
        return None
    false, _, steps = roc_curve(member, score, drop_intermediate=False)
    least = steps[false <= rate + 1e-12].min()
    return mean([float((each[inside] >= least).mean()) for each, inside in joined])


def strongest(kept: Kept, found: list[Judged]) -> list[Judged]:
    """Of each pair the attack of the highest AUC on shadow models; the first of equals."""
    chosen: list[Judged] = []
    for pair in dict.fromkeys((one.node.replica or 0) // 2 for one in found):
        own = [one for one in found if (one.node.replica or 0) // 2 == pair]
        replicas = {one.node.replica for one in own}
        best: tuple[float, list[Judged]] | None = None
        for method in kept.about["membership"]:
            trials = [one for one in own if one.node.method == method]
            if trials and {one.node.replica for one in trials} == replicas:
                known = [kept.row(one.node.key, "shadow_auc").get("value") for one in trials]
                area = -np.inf if None in known else float(np.mean(np.array(known, dtype=float)))
                best = (area, trials) if best is None or area > best[0] else best
        chosen += best[1] if best else []
    return chosen
