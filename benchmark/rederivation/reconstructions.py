"""What reconstructions show of the class and of the members, from their nearest images and judged samples."""

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from benchmark.rederivation import recut
from benchmark.rederivation.kept import Arrays, Kept, Node, at
from benchmark.rederivation.numbers import Number, Place, mean
from benchmark.rederivation.published import Published

Floats = npt.NDArray[np.float64]
SPACES = ("target", "evaluator", "evaluator_robust", "pixel")
_TIE = 1e-6
"""Cosines of float32 features that differ by less are equal."""
Values = dict[tuple[str, str], Floats]
"""(space, metric) -> a value a reconstruction, or a class; their mean is published."""


def numbers(kept: Kept, published: Published) -> Iterator[Number]:
    """The rows of every replica, those over replicas, and the controls."""
    pooled: dict[tuple[str, str], list[Values]] = {}
    alone: dict[Place, list[float | None]] = {}
    for node in kept.of("leakage"):
        values = _values(kept, node)
        pooled.setdefault((node.model, node.method), []).append(values)
        for (space, metric), each in values.items():
            yield Number(node.place(metric, space), _mean(each))
        for (space, metric), value in _of_replica(kept, node).items():
            yield Number(node.place(metric, space), value)
            alone.setdefault(node.place(metric, space)._replace(replica=None), []).append(value)
    for place, found in alone.items():
        if place.model in kept.models and any(value is not None for value in found):
            yield Number(place, mean(found))
    for (model, method), parts in pooled.items():
        joined = {name: np.concatenate([part[name] for part in parts if name in part]) for name in _names(parts)}
        if model in kept.models:
            yield from _over_replicas(kept, published, model, method, joined)
        else:
            yield from _control(model, method, joined)
    for node in kept.of("invert"):
        confidence = kept.arrays(node.key, "confidence")["confidence"]
        yield Number(node.place("target_confidence"), float(confidence.astype(np.float64).mean()))


def _names(parts: list[Values]) -> list[tuple[str, str]]:
    return list(dict.fromkeys(name for part in parts for name in part))


def _mean(values: Floats) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def _values(kept: Kept, node: Node) -> Values:
    """What the nearest images give; what needs an evaluator is as the table of samples has it."""
    table = kept.table(node.key, "samples")
    place = np.char.add(np.char.add(table["space"].astype(str), "/"), table["metric"].astype(str))
    found: Values = {}
    for name in dict.fromkeys(place.tolist()):
        space, _, metric = name.partition("/")
        found[space, metric] = table["value"][place == name].astype(np.float64)
    found["", "target_confidence"] = kept.arrays(node.inputs["inversion"], "confidence")["confidence"].astype(float)
    targets = kept.arrays(node.inputs["inversion"], "targets")["targets"]
    sides = kept.sides(node.inputs["pools"], node.replica)
    for space, near in nearest(kept, node).items():
        s_in, s_out = (near[f"{side}_cosines"][:, 0].astype(np.float64) for side in ("in", "out"))
        gap = s_in - s_out
        found[space, "cosine_nn_in"], found[space, "cosine_nn_out"] = s_in, s_out
        found[space, "memorization_gap"] = gap
        found[space, "in_rate"] = np.select([gap > _TIE, gap < -_TIE], [1.0, 0.0], 0.5)
        if sides is not None:
            labels = sides["label"][at(near["in_ids"], sides["image_id"])]
            found[space, "neighbour_purity_at_k"] = (labels == targets[:, None]).mean(axis=1)
    return found


def nearest(kept: Kept, node: Node) -> dict[str, Arrays]:
    """Space -> in_ids, in_cosines, out_ids, out_cosines (N, k) of a trial of `leakage`, or of `neighbours` itself."""
    names = [f"{side}_{what}" for side in ("in", "out") for what in ("ids", "cosines")]
    key = node.inputs.get("neighbours", node.key)
    found = kept.arrays(key, *(f"{space}_{name}" for space in SPACES for name in names))
    return {space: {name: found[f"{space}_{name}"] for name in names} for space in SPACES}


def _of_replica(kept: Kept, node: Node) -> dict[tuple[str, str], float | None]:
    found: dict[tuple[str, str], float | None] = {}
    sides = kept.sides(node.inputs["pools"], node.replica)
    for space, near in nearest(kept, node).items():
        far = [np.clip(1 - near[f"{side}_cosines"][:, 0].astype(np.float64), 0, None).mean() for side in ("in", "out")]
        found[space, "distance_ratio"] = float(far[0] / far[1]) if far[1] > _TIE else None
        if sides is not None:
            members = sides["image_id"][sides["is_member"]]
            counts = np.bincount(at(near["in_ids"][:, 0], members), minlength=len(members)).astype(np.float64)
            found[space, "exposure_gini"] = _gini(counts)
            shares = counts[counts > 0] / counts.sum()
            found[space, "exposure_effective_number"] = float(np.prod(shares**-shares))
    return found


def _gini(counts: Floats) -> float:
    """Mean absolute difference of two counts over twice their mean."""
    values, images = np.unique(counts, return_counts=True)
    apart = np.abs(values[:, None] - values) * images[:, None] * images
    return float(apart.sum() / len(counts) ** 2 / (2 * counts.mean()))


def _over_replicas(kept: Kept, published: Published, model: str, method: str, joined: Values) -> Iterator[Number]:
    place = Place(model, None, "leakage", method, "", "")
    for (space, metric), values in joined.items():
        yield Number(place._replace(space=space, metric=metric), _mean(values))
    judges = [joined.get((space, "evaluator_accuracy"), np.empty(0)) for space in ("evaluator", "evaluator_robust")]
    shares = [share for share in map(_mean, judges) if share is not None]
    yield Number(place._replace(metric="evaluator_accuracy"), min(shares) if len(shares) == len(judges) else None)
    nodes = [node for node in kept.of("leakage", model) if node.method == method]
    near = [nearest(kept, node) for node in nodes]
    p_values = dict(recut.of_reconstructions(kept, nodes, {space: [one[space] for one in near] for space in SPACES}))
    for (space, metric), p_value in p_values.items():
        yield Number(place._replace(space=space, metric=f"{metric}_p_value"), p_value, tolerance=recut.noise(p_value))
    yield from _headline(published, place, joined, p_values)


def _headline(
    published: Published, place: Place, joined: Values, p_values: Mapping[tuple[str, str], float]
) -> Iterator[Number]:
    """The IN rate of the space that the page says it chose: which of two equals is stronger, chance decides."""
    note = published.row(place._replace(metric="in_rate")).get("note") or ""
    space = note.partition(";")[0].partition(": ")[2] if note.startswith("strongest of") else note.partition(":")[0]
    if (space, "in_rate") not in joined:
        return
    yield Number(place._replace(metric="in_rate"), _mean(joined[space, "in_rate"]))
    judges = [p_values[name, "in_rate"] for name in SPACES[1:] if (name, "in_rate") in p_values]
    if note.startswith("strongest of") and (space, "in_rate") in p_values:
        p_value = min(1.0, len(judges) * p_values[space, "in_rate"])  # Holm's, of the smallest
        tolerance = len(judges) * recut.noise(p_values[space, "in_rate"])
        yield Number(place._replace(metric="in_rate_p_value"), p_value, tolerance=tolerance)


_PASSED = {
    "memoriser": lambda rate: rate >= 0.9,
    "injected_exact": lambda rate: rate == 1,
    "injected_noisy": lambda rate: rate >= 0.95,
    "injected_out": lambda rate: rate == 0,
}
"""The controls that intervals decide are not here."""


def _control(model: str, method: str, joined: Values) -> Iterator[Number]:
    name = method if model == "injected" else model
    if name not in (*_PASSED, "untrained", "injected_auxiliary"):
        return
    for space in SPACES:
        rate, place = _mean(joined[space, "in_rate"]), Place(model, None, "control", name, space, "in_rate")
        yield Number(place, rate)
        if name in _PASSED and rate is not None:
            yield Number(place._replace(metric="passed"), float(_PASSED[name](rate)))
