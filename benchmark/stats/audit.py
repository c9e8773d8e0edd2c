"""A lower bound on epsilon from one training: an audit in one run (Steinke, Nasr and Jagielski 2023, arXiv 2305.08846).

Which half of a class a model was trained on was drawn at random. Match its members with its non-members, at random
within the class: given the matching, which of a pair is the member is a fair coin, independent of all other pairs.
An attacker guesses some of these coins and abstains from the rest. Swapping the two images of one pair changes one
training image, so that a training which is epsilon-private under **substitution** lets a guess be right with
probability e^epsilon / (1 + e^epsilon) at most, whatever the other coins are.

Differs from the paper: there each image is in or out by its own coin, and epsilon is that of adding or removing one.
Adding or removing twice is a substitution: a bound found here, halved, holds for add-or-remove where delta is 0.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import betainccinv, betaincinv
from scipy.stats import binom

from benchmark.stats.intervals import check_level

SHARES = (1.0, 0.25, 0.0625)
"""Of the pairs that are guessed: those of the largest score differences. Fixed; that there are three is paid for."""
_STEPS = 64
"""Values of epsilon among which the first is sought that cannot be refuted; bisection then refines it."""


class Run(NamedTuple):
    """What a membership attack says of one trained model; (N,) each.

    scores: higher = more likely a member. labels: classes. groups: near-duplicates share a number. judged: which
    images are members, or in the half of the pool that it was not trained on.
    """

    scores: npt.NDArray[np.float64]
    is_member: npt.NDArray[np.bool_]
    labels: npt.NDArray[np.int64]
    groups: npt.NDArray[np.int64]
    judged: npt.NDArray[np.bool_]


class Audit(NamedTuple):
    """epsilon: the lower bound. Of the guesses behind it: how many, how many were right, out of how many pairs."""

    epsilon: float
    num_guessed: int
    num_right: int
    num_pairs: int


def empirical_epsilon(runs: Sequence[Run], seed: int, delta: float = 0.0, level: float = 0.95) -> Audit:
    """The largest epsilon that the attack refutes on any of the trained models, at `level` over all of them.

    runs: one a trained model, as `Run`. Each may be scored with the others as shadow models, but never with its
    mate, the model of the other half. seed: of the matching; it must not depend on who is a member. delta: the models
    are claimed to be (epsilon, delta)-private under substitution. level: the bound is too large with a probability of
    at most 1 - level, which is shared among all models and `SHARES` alike (Bonferroni): guesses are not added up over
    models, since a model's scores may hang on the other models' members, and then their errors are not independent.
    0 where nothing is refuted. Raises ValueError where no model has a pair, as where all images are in groups.
    """
    check_level(level)
    found: list[Audit] = []
    tail = (1 - level) / (len(runs) * len(SHARES)) if runs else 1.0
    for number, run in enumerate(runs):
        rng = np.random.default_rng([seed, number])
        right = guesses(run.scores, matched_pairs(run, rng), rng)
        for share in SHARES if len(right) else ():
            guessed = max(1, round(share * len(right)))
            num_right = int(right[:guessed].sum())
            bound = epsilon_lower_bound(num_right, guessed, len(right), delta, 1 - tail)
            found.append(Audit(bound, guessed, num_right, len(right)))
    if not found:
        raise ValueError("no class has a member and a non-member without near-duplicates; an audit needs one pair")
    return max(found, key=lambda audit: audit.epsilon)  # the first of those with one bound: of the most guesses


def matched_pairs(run: Run, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """(M, 2) places of a member and of a non-member of one class, each image at most once, matched at random.

    Images with near-duplicates are in no pair: they fall on a side together, and swapping several images is more than
    one substitution.
    """
    _, place, size = np.unique(run.groups, return_inverse=True, return_counts=True)
    usable = run.judged & (size[place] == 1)
    pairs = [np.empty((0, 2), dtype=np.int64)]
    for label in np.unique(run.labels[usable]):
        own = usable & (run.labels == label)
        sides = [rng.permutation(np.flatnonzero(own & side)) for side in (run.is_member, ~run.is_member)]
        count = min(map(len, sides))
        pairs.append(np.stack([side[:count] for side in sides], axis=1))
    return np.concatenate(pairs)


def guesses(
    scores: npt.NDArray[np.float64], pairs: npt.NDArray[np.int64], rng: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """(M,) whether the guess at each pair is right, the surest first: that of the larger score is the member.

    Equal scores are guessed by coin, and pairs that are equally sure stand in random order.
    """
    pairs = rng.permutation(pairs)
    difference = scores[pairs[:, 0]] - scores[pairs[:, 1]]
    right = np.where(difference == 0, rng.random(len(pairs)) < 0.5, difference > 0)
    return right[np.argsort(-np.abs(difference), kind="stable")]


@lru_cache(maxsize=10_000)
def epsilon_lower_bound(
    num_right: int, num_guessed: int, num_pairs: int, delta: float = 0.0, level: float = 0.95
) -> float:
    """The smallest epsilon >= 0 under which so many right guesses are no rarer than 1 - level.

    Without delta this is Clopper and Pearson's lower bound of the share of right guesses, as log odds.
    num_pairs: coins that might have been guessed. Raises ValueError for counts or a delta that cannot be.
    """
    check_level(level)
    if not 0 <= num_right <= num_guessed <= num_pairs or num_guessed < 1:
        raise ValueError(f"{num_right} right of {num_guessed} guessed of {num_pairs} pairs; allowed: no more than that")
    if not 0 <= delta < 1:
        raise ValueError(f"delta is {delta}; allowed: at least 0 and below 1")
    if num_right == 0:
        return 0.0
    a, b, tail = num_right, num_guessed - num_right + 1, 1 - level
    # The tail of a binomial is a beta function. Both p and 1 - p by their own quantile: neither loses digits.
    pure = float(np.log(betaincinv(a, b, tail)) - np.log(betainccinv(b, a, tail)))
    if pure <= 0 or delta == 0:
        return max(pure, 0.0)
    counts = num_right, num_guessed, num_pairs, delta
    # With delta the p-value is larger, so that the bound is below that without.
    grid = np.linspace(0, pure, _STEPS)
    kept = [p_value(*counts, float(epsilon)) >= tail for epsilon in grid[:-1]]
    first = next((i for i, holds in enumerate(kept) if holds), _STEPS - 1)
    if first == 0:
        return 0.0
    low, high = float(grid[first - 1]), float(grid[first])
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if p_value(*counts, middle) >= tail else (middle, high)
    return low


def p_value(num_right: int, num_guessed: int, num_pairs: int, delta: float, epsilon: float) -> float:
    """Largest probability of so many right guesses, or more, if the training is (epsilon, delta)-private.

    P[W >= v] + 2 m delta max_i P[v > W >= v - i] / i for W ~ Binomial(r, e^epsilon / (1 + e^epsilon)), v right of r
    guessed of m pairs, i = 1 .. v (Steinke et al. 2023, theorem for approximate privacy). At most 1.
    """
    chance = 1 / (1 + np.exp(-epsilon))
    tail = float(binom.sf(num_right - 1, num_guessed, chance))
    if delta == 0 or num_right == 0:
        return tail
    below = np.cumsum(binom.pmf(np.arange(num_right - 1, -1, -1), num_guessed, chance))
    worst = float((below / np.arange(1, num_right + 1)).max())
    return min(1.0, tail + 2 * num_pairs * delta * worst)
