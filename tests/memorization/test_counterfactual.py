"""Counterfactual memorisation: worked out by hand, where there is none, and where it is known."""

import math
from itertools import product

import numpy as np
import pytest
from scipy.stats import binom

from benchmark.memorization.counterfactual import counterfactual_memorization, difference_of_means, memorized_share

FOUR = np.array([[1, 0, 1, 1], [0, 1, 1, 1], [1, 0, 0, 1], [0, 1, 0, 1]], dtype=bool)
"""Of four models and four images: who was trained on what. Image 3 is in all of them."""


def test_by_hand() -> None:
    correct = np.array([[1, 1, 0, 1], [0, 1, 1, 1], [1, 0, 1, 0], [0, 0, 1, 1]], dtype=bool)
    found = counterfactual_memorization(correct, FOUR, ~FOUR)
    assert found.value[:3].tolist() == [1.0, 0.5 - 0.5, 0.5 - 1.0] and math.isnan(found.value[3])
    # two of two and none of two: (3/4 * 1/4 / 4) twice; one of two, twice: (1/4 / 4) twice
    assert found.standard_error[:2] == pytest.approx([math.sqrt(2 * 3 / 64), math.sqrt(2 / 16)])
    assert math.isnan(found.standard_error[3])
    assert found.num_in.tolist() == [2, 2, 2, 4] and found.num_out.tolist() == [2, 2, 2, 0]


def test_a_model_that_saw_a_near_duplicate_is_on_neither_side() -> None:
    correct = np.array([[1], [1], [0]], dtype=bool)
    trained, never = np.array([[1], [0], [0]], dtype=bool), np.array([[0], [0], [1]], dtype=bool)
    found = counterfactual_memorization(correct, trained, never)
    assert found.value.tolist() == [1.0] and found.num_out.tolist() == [1]
    with pytest.raises(AssertionError, match="trained on and never seen"):
        counterfactual_memorization(correct, trained, trained)


def halves(rng: np.random.Generator, pairs: int, images: int) -> np.ndarray:
    """(2 * pairs, images) of complements."""
    first = rng.random((pairs, images)).argsort(1) < images // 2
    return np.stack([first, ~first], 1).reshape(2 * pairs, images)


def test_where_training_changes_nothing_none_is_found() -> None:
    rng = np.random.default_rng(0)
    trained, difficulty = halves(rng, 9, 4000), rng.random(4000)
    found = counterfactual_memorization(rng.random((18, 4000)) < difficulty, trained, ~trained)
    assert abs(found.value.mean()) < 4 * found.value.std() / math.sqrt(4000)
    share, error = memorized_share(found.value)
    assert (found.value >= 0.25).mean() > 0.05 and abs(share) < 3 * error, "many by chance, none beyond it"


def test_simulated_memorisation_is_found_with_its_error() -> None:
    rng = np.random.default_rng(1)
    trained = halves(rng, 20, 5000)
    outside = rng.uniform(0, 0.5, 5000)
    truth = rng.uniform(0, 0.5, 5000)
    correct = rng.random((40, 5000)) < outside + truth * trained
    found = counterfactual_memorization(correct, trained, ~trained)
    assert found.value.mean() == pytest.approx(truth.mean(), abs=0.005)
    assert ((found.value - truth) ** 2).mean() == pytest.approx((found.standard_error**2).mean(), rel=0.1)


@pytest.mark.parametrize("models", [4, 9])
def test_the_standard_error_covers_for_few_models_too(models: int) -> None:
    """Exactly, over all outcomes: of 95% intervals on average over rates 90% or more hold the truth."""
    counts = np.arange(models + 1)
    right = np.array(list(product(counts, counts)))
    correct = np.concatenate([np.arange(models)[:, None] < right[:, side] for side in (0, 1)])
    trained = np.repeat(np.arange(2 * models) < models, len(right)).reshape(2 * models, -1)
    found = counterfactual_memorization(correct, trained, ~trained)
    covered = []
    for inside, outside in product(np.linspace(0.05, 0.95, 10), repeat=2):
        chance = binom.pmf(right[:, 0], models, inside) * binom.pmf(right[:, 1], models, outside)
        covered.append(chance[np.abs(found.value - (inside - outside)) <= 1.96 * found.standard_error].sum())
    assert np.mean(covered) > 0.9 and min(covered) > 0.8


def test_difference_of_means_by_hand() -> None:
    values = np.array([[4.0, 1.0, 2.0, 1.0], [1.0, 5.0, 4.0, 1.0], [6.0, 3.0, 1.0, 1.0], [3.0, 7.0, 1.0, 1.0]])
    found = difference_of_means(values, FOUR, ~FOUR)
    assert found[:3].tolist() == [5 - 2, 6 - 2, 3 - 1] and math.isnan(found[3])


def test_memorized_share_by_hand() -> None:
    share, error = memorized_share(np.array([0.25, 0.9, -0.25, 0.1, math.nan]))
    assert share == 0.25 and error == pytest.approx(math.sqrt(3 / 4 - 1 / 16) / 2)
    with pytest.raises(ValueError, match="no image has a value"):
        memorized_share(np.array([math.nan]))
