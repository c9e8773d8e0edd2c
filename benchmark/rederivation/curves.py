"""Robust accuracy against epsilon from the distance of every image, and accuracies on corrupted images."""

from collections.abc import Iterator

import numpy as np
from scipy.stats import beta, binom

from benchmark.rederivation.kept import Kept, Node
from benchmark.rederivation.numbers import Check, Number, mean
from benchmark.rederivation.robustness import joined, rate, spread

_ROUNDING = 1e-9


def numbers(kept: Kept) -> Iterator[Number]:
    """The rows of every replica, then those over replicas."""
    rates = [number for node in kept.of("robustness_curve") for number in _curve(kept, node)]
    rates += [number for node in kept.of("corrupt") for number in _corrupted(kept, node)]
    medians = [number for node in kept.of("robustness_curve") for number in _medians(kept, node)]
    yield from rates + medians
    yield from joined(kept, rates)
    for place in dict.fromkeys(number.place._replace(replica=None) for number in medians):
        own = [number for number in medians if number.place._replace(replica=None) == place]
        if place.model in kept.models:
            yield _mean_of_medians(own)


def below_the_attacks(kept: Kept) -> Iterator[Check]:
    """How far the distance of an image lies above that of an evasion attack which fooled the same model on it."""
    for node in kept.of("robustness_curve"):
        for other in kept.of("evade", node.model):
            attack = other.settings["attack"]
            if other.key not in node.inputs.values() or attack["norm"] not in node.settings["epsilons"]:
                continue
            name = f"{attack['norm']}_distance"
            smallest = kept.arrays(node.key, name)[name]
            test = kept.arrays(other.key, "test_robust", "test_distance")
            fooled = ~test["test_robust"][: len(smallest)]
            above = smallest[: len(fooled)][fooled] - test["test_distance"][: len(smallest)][fooled]
            excess = max(0.0, float(above.max())) if len(above) else 0.0
            yield Check("distance above an attack's", excess, _ROUNDING, f"{node.place('').words()}, {other.method}")


def _curve(kept: Kept, node: Node) -> Iterator[Number]:
    for norm, epsilons in node.settings["epsilons"].items():
        distance = kept.arrays(node.key, f"{norm}_distance")[f"{norm}_distance"]
        for epsilon in {0.0, *epsilons}:
            yield rate(node, "robust_accuracy_at", ~(distance <= epsilon), f"{norm} {epsilon:.6g}")


def _corrupted(kept: Kept, node: Node) -> Iterator[Number]:
    right = kept.arrays(node.key, "right")["right"]
    spaces = [f"{name} {severity}" for name in node.settings["names"] for severity in node.settings["severities"]]
    for space, version in zip(spaces, right, strict=True):
        yield rate(node, "corruption_accuracy", version, space)
    share, n = float(right.mean()), right.shape[1]
    low = beta.ppf(0.025, share * n, n - share * n + 1) if share > 0 else 0.0
    high = beta.ppf(0.975, share * n + 1, n - share * n) if share < 1 else 1.0
    yield Number(node.place("mean_corruption_accuracy"), share, float(low), float(high), n=n)


def _medians(kept: Kept, node: Node) -> Iterator[Number]:
    """With the k-th smallest and k-th largest distance, k by a fair coin's tails."""
    for norm in node.settings["epsilons"]:
        distance = np.sort(kept.arrays(node.key, f"{norm}_distance")[f"{norm}_distance"])
        n = len(distance)
        k = max(int(binom.ppf(0.025, n, 0.5)), 1)  # at least 2.5% lie at or below: one fewer is less than that
        place, middle = node.place("median_smallest_perturbation", norm), (distance[(n - 1) // 2], distance[n // 2])
        if np.isinf(middle).any():
            yield Number(place, None)
        elif np.isinf(distance[n - k]):
            yield Number(place, float(sum(middle) / 2))
        else:
            yield Number(place, float(sum(middle) / 2), float(distance[k - 1]), float(distance[n - k]), n=n)


def _mean_of_medians(own: list[Number]) -> Number:
    place = own[0].place._replace(replica=None)
    if any(number.value is None for number in own):
        return Number(place, None)
    value = mean([number.value for number in own])
    if any(number.low is None for number in own):
        return Number(place, value)
    lows, highs = (np.array([getattr(number, end) for number in own]) for end in ("low", "high"))
    of_images = (float(highs.mean() - lows.mean()) / 2 / 1.959963984540054) ** 2
    values = np.array([number.value for number in own], dtype=np.float64)
    half = spread(values, [(number.place.replica or 0) // 2 for number in own], of_images)
    low, high = max(float(values.mean()) - half, 0.0), float(values.mean()) + half
    return Number(place, value, float(min(low, lows.mean())), float(max(high, highs.mean())))
