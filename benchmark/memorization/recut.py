"""Exact null distributions: the private images are cut into members and non-members anew, and scored again.

Which images a pair of replicas trained on was drawn at random. If a model shows nothing of its members, then its
reconstructions, and the scores that an attack gives to images, would be what they are under any other such cut. So the
statistic of many other cuts, of the same reconstructions or scores, is its null distribution: nothing is trained, and
nothing is assumed of the model. Both replicas of a pair share every cut, each with the other half as its members.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmark.stats import ALPHA

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

NUM_CUTS = 999
"""So that the smallest p-value is 0.001."""
POWER = 0.8
TIE = 1e-6
"""Cosines of float32 features differ by this much from rounding alone: no evidence for either side."""


class Cut(NamedTuple):
    """The two halves of a pair. images: (U,) ascending ids. label, group: (U,) int64. first: (U,) bool.

    first: the members of replica 2j, or of a replica without a mate; the others are its non-members.
    """

    images: Ints
    label: Ints
    group: Ints
    first: Bools


def recuts(cut: Cut, num_cuts: int, rng: np.random.Generator) -> Bools:
    """(num_cuts, U) bool: other cuts that were as likely, each with as many images of every class on the first side.

    A group of near-duplicates that lies on one side goes to the other as a whole, in exchange for one that holds as
    many images of each class; images without near-duplicates are exchanged within their class. By a coin, the halves
    change places.
    """
    found = np.empty((num_cuts, len(cut.images)), dtype=bool)
    for units in _alike(cut):
        sides = np.tile(cut.first[units[:, 0]], (num_cuts, 1))
        drawn = rng.permuted(sides, axis=1, out=sides)
        for column in units.T:  # the images of a unit, in the order of their classes
            found[:, column] = drawn
    swapped: Bools = found ^ (rng.random(num_cuts) < 0.5)[:, None]
    return swapped


def _alike(cut: Cut) -> list[Ints]:
    """Places (units, size) of the images of each unit, one array for units that may take each other's place."""
    order = np.lexsort((cut.label, cut.group))
    starts = np.flatnonzero(np.r_[True, np.diff(cut.group[order]) != 0])
    kinds: dict[tuple[int, ...], list[Ints]] = {}
    for places in np.split(order, starts[1:]):
        whole = len(set(cut.first[places].tolist())) == 1
        for unit in [places] if whole else [place[None] for place in places]:
            kinds.setdefault(tuple(cut.label[unit].tolist()), []).append(unit)
    return [np.stack(units) for units in kinds.values()]


class Nearest(NamedTuple):
    """The nearest images of each reconstruction: places in `Cut.images` (N, L), and falling cosines (N, L)."""

    places: Ints
    cosines: Floats


def merged(cut: Cut, inside: tuple[Ints, Floats], outside: tuple[Ints, Floats]) -> Nearest:
    """One list of two. inside, outside: ids and falling cosines (N, k) of the nearest on either side.

    Raises ValueError for an image that is on neither side.
    """
    ids, cosines = (np.concatenate(both, axis=1) for both in zip(inside, outside, strict=True))
    places = np.searchsorted(cut.images, ids).clip(max=len(cut.images) - 1)
    if not (cut.images[places] == ids).all() or not np.isfinite(cosines).all():
        raise ValueError("a nearest image is on neither side, or has no cosine")
    order = np.argsort(-cosines, axis=1, kind="stable")
    return Nearest(np.take_along_axis(places, order, axis=1), np.take_along_axis(cosines, order, axis=1).astype(float))


def gaps(nearest: Nearest, inside: Bools) -> Floats:
    """(D, N) s_in - s_out of each reconstruction under each cut; their mean is the memorization gap.

    inside: (D, U) bool, the members under each cut. The lists hold the k nearest of either half as it was cut, so the
    nearest image of all is among them: which side is nearer is exact. The nearest of the other side is, unless the k
    nearest of one half all came to lie on one side, which for k = 50 does not happen; it is then taken from what is
    left of the lists, or where nothing is, for as near as their last.
    """
    best = np.full((2, len(inside), len(nearest.places)), np.nan)
    for place, cosine in zip(nearest.places.T, nearest.cosines.T, strict=True):
        side = inside[:, place]
        for found, here in zip(best, (side, ~side), strict=True):
            np.copyto(found, cosine, where=here & np.isnan(found))
        if not np.isnan(best).any():
            break
    else:
        best = np.where(np.isnan(best), nearest.cosines[:, -1], best)
    difference: Floats = best[0] - best[1]
    return difference


def wins(gap: Floats) -> Floats:
    """1 where the nearest member is closer than the nearest non-member, 0 where not, 0.5 for a tie; see `in_rate`."""
    return np.where(np.abs(gap) <= TIE, 0.5, (gap > 0).astype(np.float64))


def aucs(scores: Floats, places: Ints, inside: Bools) -> Floats:
    """(D,) AUC of an attack's scores (N,) under each cut. places: (N,) of the images. inside: (D, U) bool."""
    _, position, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[position]  # equal scores share their mean rank
    found = np.empty(len(inside))
    for start in range(0, len(inside), 64):
        members = inside[start : start + 64, places]
        m = members.sum(axis=1)
        found[start : start + 64] = (members @ ranks - m * (m + 1) / 2) / (m * (len(scores) - m))
    return found


class Null(NamedTuple):
    """A statistic under the cut that was made, and under others. observed, draws (D,); centre: its null value."""

    observed: float
    draws: Floats
    centre: float

    def p_value(self) -> float:
        """Two-sided; at least 1 / (D + 1)."""
        distance = abs(self.observed - self.centre) - 1e-9  # a cut that gives the same counts, whatever the rounding
        return float((1 + (np.abs(self.draws - self.centre) >= distance).sum()) / (1 + len(self.draws)))

    def band(self) -> tuple[float, float]:
        """Where the statistic lies in 95% of the cuts."""
        low, high = np.quantile(self.draws, [(1 - 0.95) / 2, (1 + 0.95) / 2])
        return float(low), float(high)

    def critical(self) -> float:
        """The distance from the centre beyond which a statistic has a p-value of at most ALPHA."""
        allowed = int(ALPHA * (1 + len(self.draws)) + 1e-9) - 1
        return float(np.sort(np.abs(self.draws - self.centre))[::-1][max(allowed, 0)])

    def standardised(self) -> float:
        """Distance from the centre in standard deviations of the null; 0 where it has none."""
        spread = float(self.draws.std())
        return abs(self.observed - self.centre) / spread if spread > 0 else 0.0

    def told_from(self) -> float:
        """The smallest value above the centre that is told from it with probability POWER, spread as the null is."""
        return self.centre + self.critical() + float(np.quantile(self.centre - self.draws, POWER))


def smallest_told(null: Null, won: Sequence[Floats], rng: np.random.Generator) -> float | None:
    """The smallest in_rate that would have been told from 0.5 with probability POWER; None: not even 1 would.

    won: (D, N_r) of each replica, `wins` under each cut. The alternative: a share of the reconstructions, at random,
    lie nearer a member whatever the cut, the others are as under the null.
    """
    all_won = np.concatenate(won, axis=1)
    chance = rng.random(all_won.shape)

    def power(share: float) -> float:
        rates = np.where(chance < share, 1.0, all_won).mean(axis=1)
        return float((rates - null.centre > null.critical() + 1e-9).mean())

    if power(1.0) < POWER:
        return None
    low, high = 0.0, 1.0
    for _ in range(10):
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return null.centre + (1 - null.centre) * high
