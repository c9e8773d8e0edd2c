"""Accuracies on clean and on perturbed images, and their gaps, from the outcome of every image."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy.stats import beta, binomtest
from scipy.stats import t as t_distribution

from benchmark.rederivation.kept import PROBED, Kept, Node
from benchmark.rederivation.numbers import Number, Place, mean

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


def numbers(kept: Kept) -> Iterator[Number]:
    """The rows of every replica, then those over replicas."""
    found = [number for node in kept.of("evade") for number in _evaded(kept, node)]
    found += [number for node in kept.of("predict") for number in _predicted(kept, node)]
    found += [rate(node, name, kept.arrays(node.key, name)[name]) for node in kept.of("probe") for name in PROBED]
    yield from found
    alone = ("attack_success_rate", "mean_distance")
    yield from joined(kept, [number for number in found if number.place.metric not in alone])
    for model in kept.models:
        yield from _paired_gap(kept, model)
        yield from _of_every_attack(kept, model)


def joined(kept: Kept, found: list[Number]) -> Iterator[Number]:
    """Means over the replicas of each model, with their intervals."""
    places: dict[Place, list[Number]] = {}
    for number in found:
        places.setdefault(number.place._replace(replica=None), []).append(number)
    for place, own in places.items():
        if place.model in kept.models:
            yield Number(place, mean([number.value for number in own]), *interval(own))


def _evaded(kept: Kept, node: Node) -> Iterator[Number]:
    test = kept.arrays(node.key, "test_clean", "test_robust", "test_distance")
    clean, robust = test["test_clean"], test["test_robust"]
    yield rate(node, "robust_accuracy", robust)
    fooled = ~robust[clean]
    yield rate(node, "attack_success_rate", fooled) if len(fooled) else Number(node.place("attack_success_rate"), None)
    yield Number(node.place("mean_distance"), float(test["test_distance"].astype(np.float64).mean()))
    if kept.row(node.key, "only_black_box"):
        yield rate(node, "only_black_box", kept.arrays(node.key, "test_only_black_box")["test_only_black_box"])
    if node.settings["num_members"]:
        inside = kept.arrays(node.key, "members_robust")["members_robust"]
        yield rate(node, "robust_accuracy_members", inside)
        yield _gap(
            node, "robust_generalization_gap", (int(inside.sum()), len(inside)), (int(robust.sum()), len(robust))
        )


def _predicted(kept: Kept, node: Node) -> Iterator[Number]:
    correct = kept.arrays(node.key, "correct")["correct"]
    sides = kept.sides(node.inputs["pools"], node.replica)
    test, row = kept.row(node.key, "clean_accuracy"), node.place("clean_accuracy")
    if test.get("value") is None or not test["n"]:
        raise ValueError("no accuracy on test images")
    right, of = _on_test(kept, node) or (round(test["value"] * test["n"]), test["n"])
    ends = binomtest(right, of).proportion_ci(method="exact")
    yield Number(row, right / of, ends.low, ends.high, n=of)
    if sides is not None:
        inside = correct[sides["is_member"]]
        yield rate(node, "member_accuracy", inside)
        yield rate(node, "non_member_accuracy", correct[sides["is_out"]])
        yield _gap(node, "generalization_gap", (int(inside.sum()), len(inside)), (right, of))


def _on_test(kept: Kept, node: Node) -> tuple[int, int] | None:
    """(right, test images) where an evasion attack was given all of them; their outcomes are kept nowhere else."""
    for other in kept.of("evade", node.model):
        if other.replica == node.replica:
            clean = kept.arrays(other.key, "test_clean")["test_clean"]
            if len(clean) == kept.row(node.key, "clean_accuracy").get("n"):
                return int(clean.sum()), len(clean)
    return None


def rate(node: Node, metric: str, right: Bools, space: str = "") -> Number:
    """With Clopper and Pearson's interval."""
    ends = binomtest(int(right.sum()), len(right)).proportion_ci(method="exact")
    return Number(node.place(metric, space), float(right.mean()), ends.low, ends.high, n=len(right))


def _gap(node: Node, metric: str, inside: tuple[int, int], test: tuple[int, int]) -> Number:
    """(right, images) on members and on test images; the interval is Newcombe's, of two Wilson intervals."""
    p, q = inside[0] / inside[1], test[0] / test[1]
    wilson_p, wilson_q = (binomtest(*side).proportion_ci(method="wilson") for side in (inside, test))
    low = p - q - np.hypot(p - wilson_p.low, wilson_q.high - q)
    high = p - q + np.hypot(wilson_p.high - p, q - wilson_q.low)
    return Number(node.place(metric), p - q, max(low, -1.0), min(high, 1.0))


def interval(own: list[Number]) -> tuple[float, float] | tuple[None, None]:
    """Of a mean share of images that replicas have in common; not of a gap, which has no `n`.

    Student's t: one draw of the images, and the spread between pairs, or between the replicas of a single pair. At
    least Clopper and Pearson's of the mean share, a quantile of the beta distribution.
    """
    if not all(number.n for number in own):
        return None, None
    rates = np.array([number.value for number in own], dtype=np.float64)
    n, share = min(number.n for number in own), float(rates.mean())
    half = spread(rates, [(number.place.replica or 0) // 2 for number in own], share * (1 - share) / n)
    right = share * n
    low = beta.ppf(0.025, right, n - right + 1) if right > 0 else 0.0
    high = beta.ppf(0.975, right + 1, n - right) if right < n else 1.0
    return float(max(0.0, min(share - half, low))), float(min(1.0, max(share + half, high)))


def _of_every_attack(kept: Kept, model: str) -> Iterator[Number]:
    """What the attacks in the primary one's ball leave together, and what each fools that the primary one does not."""
    primary, *others = kept.about["evasion"]
    ball = primary["norm"], primary["epsilon"]
    rivals = [attack["label"] for attack in others if (attack["norm"], attack["epsilon"]) == ball]
    nodes = {(node.method, node.replica): node for node in kept.of("evade", model)}
    robust = {place: kept.arrays(node.key, "test_robust")["test_robust"] for place, node in nodes.items()}
    own = {replica: stands for (method, replica), stands in robust.items() if method == primary["label"]}
    all_of = {
        replica: np.logical_and.reduce([stands, *(robust[m, replica] for m in rivals if (m, replica) in robust)])
        for replica, stands in own.items()
    }
    shares = {("best_known_robust_accuracy", primary["label"]): all_of}
    shares["attack_gap", primary["label"]] = {replica: own[replica] > stands for replica, stands in all_of.items()}
    for method in rivals:
        both = {replica: robust[method, replica] for replica in own if (method, replica) in robust}
        shares["beats_primary", method] = {replica: own[replica] > stands for replica, stands in both.items()}
        shares["loses_to_primary", method] = {replica: own[replica] < stands for replica, stands in both.items()}
    for (metric, method), of in shares.items():
        found = [rate(nodes[method, replica], metric, images) for replica, images in of.items()]
        if found:
            place = found[0].place._replace(replica=None)
            yield Number(place, mean([number.value for number in found]), *interval(found))


def spread(values: Floats, pairs: list[int], of_images: float) -> float:
    """Half of the t interval of a mean of replicas (R,). of_images: variance of one draw of the images they share."""
    units = np.array([values[np.array(pairs) == pair].mean() for pair in sorted(set(pairs))])
    units = values if len(units) == 1 else units
    between = float(units.var(ddof=1)) / len(units) if len(units) > 1 else 0.0
    total = of_images + between
    freedom = max(3.0, total**2 * (len(units) - 1) / between**2) if between > 0 else 1e9
    return float(t_distribution.ppf(0.975, min(freedom, 1e9)) * np.sqrt(total))


def _paired_gap(kept: Kept, model: str) -> Iterator[Number]:
    """P(right | trained on it) - P(right | not) of the images that one of a pair trained on, mean over pairs."""
    nodes = {node.replica: node for node in kept.of("predict", model)}
    means = []
    for replica, node in nodes.items():
        if replica is not None and replica % 2 == 0 and replica + 1 in nodes:
            one, other = (kept.arrays(n.key, "correct", "is_member") for n in (node, nodes[replica + 1]))
            judged = one["is_member"] ^ other["is_member"]
            trained = np.where(one["is_member"], one["correct"], other["correct"])[judged]
            apart = np.where(one["is_member"], other["correct"], one["correct"])[judged]
            means.append(float(trained.mean() - apart.mean()))
    if means:
        place = next(iter(nodes.values())).place("paired_generalization_gap")
        yield Number(place._replace(replica=None), mean(means))
