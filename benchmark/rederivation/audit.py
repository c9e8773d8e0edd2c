"""Audits in one run: a bound on epsilon from guesses at matched pairs (Steinke, Nasr and Jagielski 2023)."""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.stats import binom, binomtest

from benchmark.rederivation.kept import Arrays, Kept, Node
from benchmark.rederivation.numbers import Number, Place

_SHARES = (1.0, 0.25, 0.0625)
_LEVEL = 0.95


def audited(kept: Kept, place: Place, trials: Sequence[tuple[Node, Arrays]]) -> Iterator[Number]:
    """The largest bound of any replica and share of guesses. Who is matched with whom follows from the seed alone."""
    place = place._replace(metric="empirical_epsilon")
    if kept.of("import", place.model):
        yield Number(place, None)
        return
    text = f"{kept.suite}/{place.model}/empirical_epsilon"
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    deltas = [kept.row(node.key, "proven_delta").get("value") or 0.0 for node in kept.of("train", place.model)]
    tail, bounds = (1 - _LEVEL) / (len(trials) * len(_SHARES)), []
    for number, (_, table) in enumerate(trials):
        right = _guesses(table, np.random.default_rng([seed, number]))
        for share in _SHARES if len(right) else ():
            guessed = max(1, round(share * len(right)))
            bounds.append(_bound(int(right[:guessed].sum()), guessed, len(right), max(deltas, default=0.0), tail))
    yield Number(place, max(bounds, default=None))


def _guesses(table: Arrays, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Whether the guess at each pair is right, the surest first.

    Draws in the order in which the bound was declared: each class's members and non-members, then the order of pairs,
    then coins for equal scores.
    """
    _, group, size = np.unique(table["group"], return_inverse=True, return_counts=True)
    usable = table["judged"] & (size[group] == 1)
    matched = []
    for label in sorted(set(table["label"][usable].tolist())):
        own = usable & (table["label"] == label)
        inside = rng.permutation(np.flatnonzero(own & table["is_member"]))
        outside = rng.permutation(np.flatnonzero(own & ~table["is_member"]))
        matched += list(zip(inside, outside, strict=False))
    pairs = rng.permutation(np.array(matched, dtype=np.int64).reshape(-1, 2))
    apart = table["score"][pairs[:, 0]] - table["score"][pairs[:, 1]]
    right = np.where(apart == 0, rng.random(len(pairs)) < 0.5, apart > 0)
    surest: npt.NDArray[np.bool_] = right[np.argsort(-np.abs(apart), kind="stable")]
    return surest


def _bound(right: int, guessed: int, pairs: int, delta: float, tail: float) -> float:
    """The smallest epsilon under which so many right guesses are no rarer than `tail`."""

    def excess(epsilon: float) -> float:
        chance = 1 / (1 + np.exp(-epsilon))
        found = binom.sf(right - 1, guessed, chance)
        if delta and right:
            below = np.cumsum([binom.pmf(count, guessed, chance) for count in range(right - 1, -1, -1)])
            found += 2 * pairs * delta * (below / np.arange(1, right + 1)).max()
        return float(min(found, 1.0) - tail)

    if excess(0.0) >= 0:
        return 0.0
    share = binomtest(right, guessed, alternative="greater").proportion_ci(1 - tail, method="exact").low
    pure = float(np.log(share) - np.log1p(-share)) if delta == 0 else brentq(excess, 0.0, 50.0, xtol=1e-10)
    return float(max(pure, 0.0))
