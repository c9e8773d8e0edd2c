"""The audit in one run against closed forms, brute force, and trainings whose epsilon is known."""

import itertools
import math

import numpy as np
import pytest

from benchmark.stats.audit import Run, empirical_epsilon, epsilon_lower_bound, guesses, matched_pairs, p_value


def halves(num_pairs: int, rng: np.random.Generator, num_classes: int = 2) -> Run:
    """Images without near-duplicates, half of each class members by coin; scores of 0."""
    labels = np.repeat(np.arange(num_classes), 2 * num_pairs // num_classes)
    member = np.concatenate(
        [rng.permutation(np.arange(len(labels) // num_classes) % 2 == 0) for _ in range(num_classes)]
    )
    everything = np.ones(len(labels), dtype=bool)
    return Run(np.zeros(len(labels)), member, labels, np.arange(len(labels)), everything)


def test_hand_cases() -> None:
    # 10 of 10: p^10 = 0.05, so p = 0.7411 and epsilon = log(p / (1 - p)).
    p = 0.05**0.1
    assert epsilon_lower_bound(10, 10, 10) == pytest.approx(math.log(p / (1 - p)), rel=1e-12)
    # 1 of 1 is as likely as p: not below 0.05 for any epsilon >= 0.
    assert epsilon_lower_bound(1, 1, 1) == 0
    # 9 of 10: 10 p^9 (1 - p) + p^10 = 0.05.
    p = 1 / (1 + math.exp(-epsilon_lower_bound(9, 10, 10)))
    assert 10 * p**9 * (1 - p) + p**10 == pytest.approx(0.05, rel=1e-9)
    assert epsilon_lower_bound(5, 10, 10) == epsilon_lower_bound(0, 10, 10) == 0


def test_p_values_by_adding_up_every_outcome_of_the_coins() -> None:
    """Of 6 guesses in 8 pairs, at epsilon 0.7, without and with delta."""
    p, delta = 1 / (1 + math.exp(-0.7)), 0.01
    chance = np.zeros(7)
    for outcome in itertools.product((0, 1), repeat=6):
        chance[sum(outcome)] += math.prod(p if right else 1 - p for right in outcome)
    for v in range(7):
        worst = max((chance[v - i : v].sum() / i for i in range(1, v + 1)), default=0)
        assert p_value(v, 6, 8, 0.0, 0.7) == pytest.approx(chance[v:].sum(), rel=1e-12)
        assert p_value(v, 6, 8, delta, 0.7) == pytest.approx(min(1, chance[v:].sum() + 2 * 8 * delta * worst))


@pytest.mark.parametrize(("right", "guessed"), [(60, 80), (400, 500), (2000, 2100), (3000, 3000)])
def test_the_bound_is_where_the_p_value_crosses(right: int, guessed: int) -> None:
    previous = math.inf
    for delta in (0.0, 1e-6, 1e-4):
        bound = epsilon_lower_bound(right, guessed, 3000, delta)
        assert 0 < bound <= previous
        assert p_value(right, guessed, 3000, delta, bound) == pytest.approx(0.05, rel=1e-5)
        below = [p_value(right, guessed, 3000, delta, e) for e in np.linspace(0, bound * (1 - 1e-6), 50)]
        assert max(below) < 0.05, "no smaller epsilon is left standing"
        previous = bound
    assert epsilon_lower_bound(right, guessed, 3000, 0.5) == 0, "a delta that allows everything"


def test_counts_that_cannot_be_are_refused() -> None:
    for counts in ((3, 2, 5), (2, 6, 5), (-1, 2, 5), (0, 0, 5)):
        with pytest.raises(ValueError, match="right of"):
            epsilon_lower_bound(*counts)
    with pytest.raises(ValueError, match="delta is 1"):
        epsilon_lower_bound(1, 2, 3, 1.0)


@pytest.mark.parametrize("epsilon", [0.0, 0.4, 1.0, 3.0])
def test_randomised_response_is_not_found_to_leak_more_than_it_does(epsilon: float) -> None:
    """Each image answers who it is, truly with odds e^epsilon. A pair has two answers: 2 epsilon under substitution.

    Of 1,000 runs, at most 5% may find more. With epsilon 0 the answers are noise, and at least 95% find exactly 0.
    """
    rng, bounds = np.random.default_rng(7), []
    for seed in range(1000):
        run = halves(200, rng)
        truthful = rng.random(len(run.scores)) < 1 / (1 + math.exp(-epsilon))
        bounds.append(empirical_epsilon([run._replace(scores=(run.is_member == truthful).astype(float))], seed).epsilon)
    found = np.array(bounds)
    assert (found > 2 * epsilon).mean() <= 0.05
    usual = round(50 / (1 + math.exp(-2 * epsilon))) - 2  # right, of the 50 guesses of a quarter of the pairs
    assert np.median(found) >= epsilon_lower_bound(usual, 50, 200, 0, 1 - 0.05 / 3), "nor as good as nothing"


def test_noise_on_many_models_gives_nothing() -> None:
    """The level is that of all models together, of both halves of a pair too; scores of many digits, no ties."""
    rng, found = np.random.default_rng(3), []
    for seed in range(300):
        one = halves(60, rng)
        runs = [one._replace(scores=rng.normal(size=120), is_member=side) for side in (one.is_member, ~one.is_member)]
        found.append(empirical_epsilon(runs, seed).epsilon)
    assert np.mean(np.array(found) > 0) <= 0.05


def test_a_training_that_tells_all_and_one_that_tells_a_few() -> None:
    run = halves(400, np.random.default_rng(0))
    everything = empirical_epsilon([run._replace(scores=run.is_member.astype(float))], 0)
    assert everything[1:] == (400, 400, 400)
    p = (0.05 / 3) ** (1 / 400)
    assert everything.epsilon == pytest.approx(math.log(p / (1 - p)))
    few = np.isin(np.arange(800), np.flatnonzero(run.is_member)[::16])  # one member of sixteen is known; no more is
    some = empirical_epsilon([run._replace(scores=few.astype(float))], 0)
    assert some.num_guessed == 25 and some.num_right == 25
    assert empirical_epsilon([run._replace(scores=-run.is_member.astype(float))], 0).epsilon == 0


def test_the_largest_of_several_models_is_what_is_left_of_a_shared_level() -> None:
    rng = np.random.default_rng(0)
    quiet, loud = halves(100, rng), halves(100, rng)
    loud = loud._replace(scores=loud.is_member.astype(float))
    p = (0.05 / 6) ** (1 / 100)
    assert empirical_epsilon([quiet, loud], 0).epsilon == pytest.approx(math.log(p / (1 - p)))


def test_pairs_are_of_one_class_and_groups_are_in_none() -> None:
    rng = np.random.default_rng(0)
    run = halves(50, rng, num_classes=5)
    groups = run.groups.copy()
    groups[[3, 17]] = groups[2], groups[44]  # near-duplicates, of one class and of two
    judged = run.judged.copy()
    judged[60] = False
    run = run._replace(groups=groups, judged=judged)
    seen = set()
    for _ in range(30):
        pairs = matched_pairs(run, rng)
        assert run.is_member[pairs[:, 0]].all() and not run.is_member[pairs[:, 1]].any()
        assert (run.labels[pairs[:, 0]] == run.labels[pairs[:, 1]]).all()
        assert len(np.unique(pairs)) == pairs.size and not np.isin(pairs, [2, 3, 17, 44, 60]).any()
        sizes = [
            min(int((usable & run.is_member).sum()), int((usable & ~run.is_member).sum()))
            for label in range(5)
            if (usable := (run.labels == label) & judged & ~np.isin(np.arange(100), [2, 3, 17, 44])) is not None
        ]
        assert len(pairs) == sum(sizes)
        seen |= {tuple(pair) for pair in pairs.tolist()}
    assert len(seen) > 150, "matched anew, not by their place"


def test_given_the_matching_each_coin_is_fair_and_alone() -> None:
    """Over all cuts of one class of four: a matching {a,b},{c,d} is left with each of its four outcomes alike."""
    counts: dict[tuple[tuple[int, ...], ...], dict[tuple[int, ...], int]] = {}
    rng = np.random.default_rng(0)
    for members in itertools.combinations(range(4), 2):
        run = halves(2, rng, num_classes=1)._replace(is_member=np.isin(np.arange(4), members))
        for _ in range(2000):
            pairs = sorted(tuple(sorted(pair)) for pair in matched_pairs(run, rng).tolist())
            coins = tuple(int(pair[0] in members) for pair in pairs)
            outcome = counts.setdefault(tuple(pairs), {})
            outcome[coins] = outcome.get(coins, 0) + 1
    assert len(counts) == 3
    for outcome in counts.values():
        assert len(outcome) == 4 and max(outcome.values()) - min(outcome.values()) < 6 * math.sqrt(1000)


def test_the_surest_guesses_come_first_and_ties_are_coins() -> None:
    scores = np.array([3.0, 0.0, 1.0, 2.5, 0.1, 0.0])
    pairs = np.array([[4, 5], [0, 1], [2, 3]])
    assert guesses(scores, pairs, np.random.default_rng(0)).tolist() == [True, False, True]
    tied = [guesses(np.zeros(200), np.arange(200).reshape(-1, 2), np.random.default_rng(i)).sum() for i in range(40)]
    assert abs(np.mean(tied) - 50) < 4 and np.std(tied) > 2


def test_nothing_to_pair_is_an_error() -> None:
    run = halves(4, np.random.default_rng(0))
    with pytest.raises(ValueError, match="an audit needs one pair"):
        empirical_epsilon([run._replace(groups=np.zeros(8, dtype=np.int64))], 0)
    with pytest.raises(ValueError, match="an audit needs one pair"):
        empirical_epsilon([], 0)
