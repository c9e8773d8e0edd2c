"""What derives numbers again, against cases by hand and, where both are there, against the attacks themselves."""

import math

import numpy as np
import pytest
from simulated_membership import World, world

from benchmark import registry
from benchmark.rederivation import audit, cuts, membership, memorisation, numbers, reconstructions, recut
from benchmark.rederivation.scores import score_of
from benchmark.stats.audit import epsilon_lower_bound


def arrays(found: World, model: int | None) -> dict[str, np.ndarray]:
    """As `Kept.queries` gives them, of the target or of a shadow model."""
    signals = found.target if model is None else type(found.target)(*(part[model] for part in found.shadows.signals))
    sides = found.is_member if model is None else found.shadows.trained_on[model]
    unseen = ~found.is_member if model is None else found.shadows.never_seen[model]
    parts = {"margins": signals.margins, "adversarial": signals.adversarial, "is_member": sides, "never_seen": unseen}
    return {name: part.numpy() for name, part in parts.items()}


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "loss_threshold"},
        {"method": "adversarial_loss"},
        {"method": "calibrated_loss"},
        {"method": "calibrated_loss", "signal": "both"},
        {"method": "lira"},
        {"method": "lira", "mode": "offline", "queries": 1},
        {"method": "lira", "signal": "both", "variance": "one"},
    ],
)
@pytest.mark.parametrize("num_pairs", [2, 3])
def test_scores_are_those_of_the_attack(settings: dict[str, object], num_pairs: int) -> None:
    """Nine images have near-duplicates everywhere, so that no model is known to have never seen them."""
    found = world(num_images=60, num_pairs=num_pairs, queries=3, adversarial=2)
    found.shadows.never_seen[:, :9] = False
    attack = registry.parse("membership", settings)
    shadows = [arrays(found, model) for model in range(2 * num_pairs)]
    derived = score_of(registry.dump("membership", attack), 2 * num_pairs + 1)
    assert derived is not None
    given = attack.scores(found.target, found.shadows, found.images).numpy()  # type: ignore[attr-defined]
    assert np.allclose(derived(arrays(found, None), shadows), given, rtol=1e-9, atol=1e-9)


def test_a_variance_an_image_is_not_derived_again() -> None:
    """Which of the two `auto` is follows from how many models there are."""
    derived = {(v, n): score_of({"method": "lira", "variance": v}, n) for v in ("auto", "one") for n in (64, 65)}
    assert [place for place, score in derived.items() if score is None] == [("auto", 65)]
    assert score_of({"method": "lira", "variance": "per_image"}, 5) is None


def test_gini_by_hand() -> None:
    assert reconstructions._gini(np.array([1.0, 1, 1, 1])) == 0
    assert reconstructions._gini(np.array([0.0, 0, 0, 4])) == pytest.approx(0.75)
    assert reconstructions._gini(np.array([1.0, 3.0])) == pytest.approx(0.25)


@pytest.mark.parametrize(("right", "delta"), [(50, 0.0), (80, 0.0), (100, 0.0), (90, 1e-5), (90, 1e-3)])
def test_bound_on_epsilon(right: int, delta: float) -> None:
    found = audit._bound(right, 100, 150, delta, 0.05)
    assert found == pytest.approx(epsilon_lower_bound(right, 100, 150, delta), abs=1e-7)
    assert right < 100 or found == pytest.approx(math.log(0.05**0.01 / (1 - 0.05**0.01)))


def test_threshold_and_rate_by_hand() -> None:
    """Above 1.25 are all members and one of four others: 7/8; above 2.5 two of three and no other: 5/6."""
    score, member = np.array([3.0, 4, 1.5, 1, 2, 0, -1]), np.array([True, True, True, False, False, False, False])
    assert membership._threshold(score, member) == 1.25
    assert membership._tpr(score, member, 0.25) == 1.0
    assert membership._tpr(score, member, 0.2) is None
    assert membership._tpr(-score, member, 0.25) == 0.0
    assert membership._threshold(-score, member) == 1.0  # no threshold beats chance: nobody is called a member


def test_cuts_keep_classes_and_groups() -> None:
    label = np.array([0] * 8 + [1] * 4)
    group = np.array([0, 0, 1, 1, 4, 5, 6, 7, 8, 9, 10, 11])
    first = np.array([True, True, False, False, True, True, False, False, True, False, True, False])
    drawn = cuts.drawn(first, label, group, np.random.default_rng(0))
    assert (drawn[0] == first).all() and (drawn[:, :8].sum(1) == 4).all() and (drawn[:, 8:].sum(1) == 2).all()
    assert (drawn[:, 0] == drawn[:, 1]).all() and (drawn[:, 2] != drawn[:, 0]).all()
    assert np.allclose(drawn[1:].mean(0), 0.5, atol=0.08)
    assert recut.p_value(np.array([0.7, 0.5, 0.3, 0.6, 0.8]), 0.5) == 0.6


def test_memorisation_by_hand() -> None:
    """Right whenever trained on it, wrong when not; the second image was never in."""
    names = "correct", "is_member", "never_seen"
    outcomes = ([True, True], [True, False], [False, True]), ([False, True], [False, False], [True, True])
    queries = [{name: np.array(part) for name, part in zip(names, one, strict=True)} for one in outcomes]
    queries[0]["margins"], queries[1]["margins"] = np.array([[2.0], [1.0]]), np.array([[-1.0], [1.0]])
    found = memorisation.values(queries)
    assert found["memorization"][0] == 1 and np.isnan(found["memorization"][1]) and found["margin_gap"][0] == 3
    assert found["memorization_error"][0] == pytest.approx(math.sqrt(2 * (2 / 3) * (1 / 3) / 3))


def test_a_number_that_is_there_on_one_side_only_differs() -> None:
    place = numbers.Place("m", 0, "evade", "pgd", "", "robust_accuracy")
    rows = {place: {"value": None, "low": None, "high": None}}
    (check,) = numbers.compared([numbers.Number(place, 0.5)], rows)
    assert check.difference == math.inf and not numbers.lines([check], {})[0].holds
    assert numbers.difference(2000.0, 2000.001) == pytest.approx(5e-7)
    assert [line.unchecked for line in numbers.lines([check], {"robust_accuracy": 2, "wall": 1})] == [2, 1]
