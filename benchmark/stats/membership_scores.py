"""Membership scores of all replicas of a model: AUC and true-positive rates, with intervals that know of pairs."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr

from benchmark.stats.crossed import Crossed, freedom_of, image_cells, t_quantile, unit_variance
from benchmark.stats.intervals import Interval, check_level, clopper_pearson, envelope, normal_quantile
from benchmark.stats.roc import auc, placements, split, tpr_at_fpr

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

MOST_FALSE_ALARMS = 10
"""False alarms from which on non-members resolve a false-positive rate: a rate of 0.1% needs 10,000 of them."""


class Scored(NamedTuple):
    """What an attack says of the images that one replica is judged on; a higher score means member.

    scores: (N,). is_member: (N,) bool. image: (N,) int64, equal for one image under several replicas, and for
    near-duplicates; default: its place. pair: of the replica; default: by its place among the replicas.
    """

    scores: Any
    is_member: Any
    image: Any = None
    pair: int | None = None


def replicated_auc(replicas: Sequence[Scored | tuple[Any, Any]], level: float = 0.95) -> Interval:
    """Mean AUC over pairs, with the interval of `auc_cells` clipped to [0, 1].

    Where the variance is 0 (perfect separation, all scores equal) DeLong's estimate is no evidence of certainty: the
    interval is Clopper and Pearson's over the smaller side, after the bound Var(AUC) <= AUC (1 - AUC) /
    min(num_members, num_non_members) of Birnbaum and Klose (1957). n counts the images of a replica, of the smallest.
    Raises ValueError as `auc` does.
    """
    cells = auc_cells(replicas)
    found = cells.interval(level)
    if cells.variance()[0] < 1e-20:
        smaller = min(min(map(len, split(*replica[:2]))) for replica in replicas)
        exact = clopper_pearson(min(max(found.value, 0.0), 1.0) * smaller, smaller, level)
        return envelope(found.value, found.n, (exact.low, exact.high))
    return found._replace(low=max(found.low, 0.0), high=min(found.high, 1.0))


def auc_cells(replicas: Sequence[Scored | tuple[Any, Any]]) -> Crossed:
    """Mean AUC over pairs, as pairs crossed with images.

    An image adds to a replica's AUC by its placement among the images of the other side (DeLong, DeLong and
    Clarke-Pearson 1988). The replicas of a pair see each image from both sides: an image that is easy under any model
    raises the AUC of the one that trained on it and lowers the other's as much. Adding both before squaring is what
    tells this from noise. One pair, or one replica, says nothing of other trainings: its variance is that of images.
    """
    found = _complete(replicas)
    means, influences, images = [], [], []
    for pair in dict.fromkeys(replica.pair for replica in found):
        own = [replica for replica in found if replica.pair == pair]
        means.append(float(np.mean([auc(r.scores, r.is_member) for r in own])))
        influences.append(np.concatenate([_influence(r) / len(own) for r in own]))
        images.append(np.concatenate([r.image for r in own]))
    pairs = np.array(list(dict.fromkeys(replica.pair for replica in found)), dtype=np.int64)
    return image_cells(np.array(means), influences, images, pairs, min(len(r.scores) for r in found))


def _influence(replica: Scored) -> Floats:
    """(N,) what each image adds to the deviation of the replica's AUC."""
    members, others = split(replica.scores, replica.is_member)
    over, under = placements(members, others)
    influence = np.empty(len(replica.is_member))
    influence[replica.is_member] = (over - over.mean()) / len(members)
    influence[~replica.is_member] = (under - under.mean()) / len(others)
    return influence


def tpr_at_1pct(replicas: Sequence[Scored | tuple[Any, Any]]) -> Interval:
    """`replicated_tpr` at a false-positive rate of 1%."""
    return replicated_tpr(replicas, 0.01)


def tpr_at_0_1pct(replicas: Sequence[Scored | tuple[Any, Any]]) -> Interval:
    """`replicated_tpr` at a false-positive rate of 0.1%."""
    return replicated_tpr(replicas, 0.001)


def replicated_tpr(replicas: Sequence[Scored | tuple[Any, Any]], fpr: float, level: float = 0.95) -> Interval:
    """True-positive rate at a fixed false-positive rate over the pairs of a model; n: member images behind it.

    The threshold is that of each pair's non-members, and the value the mean over pairs; where those of one pair are
    fewer than `MOST_FALSE_ALARMS` / fpr, all pairs share one threshold. The interval adds, as squares: the threshold's
    own error (the number of non-members above the true quantile is Binomial(n, fpr), which brackets it by order
    statistics), that of the drawn members (Clopper and Pearson), and the variance between pairs. Images are counted
    once, however many pairs judge them. Raises ValueError where all non-members together are too few for the rate.
    """
    check_level(level)
    found = _complete(replicas)
    parts = [_joined([r for r in found if r.pair == pair]) for pair in dict.fromkeys(r.pair for r in found)]
    resolved = min(int((~part.is_member).sum()) for part in parts) * fpr >= MOST_FALSE_ALARMS - 1e-9
    pools = parts if resolved else [_joined(found)]
    non_members = min(int((~pool.is_member).sum()) for pool in pools)
    if non_members * fpr < MOST_FALSE_ALARMS - 1e-9:
        raise ValueError(
            f"{non_members:,} non-members do not resolve a rate of {fpr:g}; needed: {MOST_FALSE_ALARMS / fpr:,.0f}"
        )
    sides = np.mean([_ends(pool, fpr, level) for pool in pools], axis=0)
    rates = _at_own(parts, fpr) if resolved else _at_one(parts, pools[0], fpr)
    between, units = unit_variance(rates, range(len(rates))) if len(rates) > 1 else (0.0, 1)
    value = float(np.mean(rates))
    z = normal_quantile(level)
    ends = []
    for side, squares in ((-1, sides[1]), (1, sides[2])):
        variance = squares / z**2 + between
        ends.append(value + side * t_quantile(freedom_of(variance, between, units), level) * math.sqrt(variance))
    members = min(len(np.unique(pool.image[pool.is_member])) for pool in pools)
    return Interval(value, max(ends[0], 0.0), min(ends[1], 1.0), members)


def _at_own(parts: Sequence[Scored], fpr: float) -> list[float]:
    """The rate of each pair at its own threshold."""
    return [tpr_at_fpr(part.scores, part.is_member, fpr) for part in parts]


def _at_one(parts: Sequence[Scored], pool: Scored, fpr: float) -> list[float]:
    """The rate of each pair at the threshold of all."""
    others = np.sort(pool.scores[~pool.is_member])
    threshold = others[-1 - math.floor(fpr * len(others) + 1e-9)]
    return [float((part.scores[part.is_member] > threshold).mean()) for part in parts]


def _ends(pool: Scored, fpr: float, level: float) -> tuple[float, float, float]:
    """(rate, squared distance to its low end, to its high end), of the threshold and of the members together."""
    members, others = pool.scores[pool.is_member], np.sort(pool.scores[~pool.is_member])[::-1]
    distinct = [len(np.unique(pool.image[side])) for side in (pool.is_member, ~pool.is_member)]
    rate = tpr_at_fpr(pool.scores, pool.is_member, fpr)
    least, most = _binomial_range(distinct[1], fpr, level)
    repeats = len(others) / distinct[1]
    first, last = round(least * repeats), min(round(most * repeats), len(others) - 1)
    low = float((members > others[first - 1]).mean()) if first else 0.0
    high = float((members > others[last]).mean())
    exact = clopper_pearson(rate * distinct[0], distinct[0], level)
    below = (rate - min(low, rate)) ** 2 + (rate - exact.low) ** 2
    above = (max(high, rate) - rate) ** 2 + (exact.high - rate) ** 2
    return rate, below, above


def _binomial_range(n: int, p: float, level: float) -> tuple[int, int]:
    """The counts between which a Binomial(n, p) falls with at least `level`, as much left out at either end."""
    tail = (1 - level) / 2
    counts = np.arange(n + 1)
    below = bdtr(counts, n, p)
    return int(np.searchsorted(below, tail)), int(np.searchsorted(below, 1 - tail))


def _complete(replicas: Sequence[Scored | tuple[Any, Any]]) -> list[Scored]:
    """As arrays, each with its images and its pair."""
    if not replicas:
        raise ValueError("replicas is empty; allowed: at least one replica")
    found = []
    for place, given in enumerate(replicas):
        replica = Scored(*given)
        scores, members = np.asarray(replica.scores, dtype=np.float64), np.asarray(replica.is_member)
        split(scores, members)  # for its checks
        image = np.arange(len(scores)) if replica.image is None else np.asarray(replica.image)
        found.append(Scored(scores, members, image, place // 2 if replica.pair is None else replica.pair))
    return found


def _joined(replicas: Sequence[Scored]) -> Scored:
    scores, members, images = (
        np.concatenate([replica[part] for replica in replicas])  # scores, is_member, image
        for part in range(3)
    )
    return Scored(scores, members, images)
