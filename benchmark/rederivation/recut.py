"""p-values by cutting the private images anew, drawn by another generator: equal up to the noise of drawing."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from benchmark.rederivation.kept import Arrays, Kept, Node, at

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
NUM_CUTS = 999
_TIE = 1e-6


def noise(p_value: float) -> float:
    """Five standard errors of the difference of two p-values of 999 cuts each, and a few cuts."""
    return float(5 * np.sqrt(2 * p_value * (1 - p_value) / NUM_CUTS) + 5 / NUM_CUTS)


def p_value(statistic: Floats, centre: float) -> float:
    """statistic: (1 + D,) under the cut that was made, and under others. Two-sided."""
    far = np.abs(statistic - centre)
    return float((far >= far[0] - 1e-9).mean())


def of_reconstructions(
    kept: Kept, nodes: Sequence[Node], near: Mapping[str, Sequence[Arrays]]
) -> Iterator[tuple[tuple[str, str], float]]:
    """(space, metric) -> p-value of in_rate and memorization_gap. near: space -> nearest images of each trial."""
    found = [inside(kept, node) for node in nodes]
    cuts = [each for each in found if each is not None]
    if len(cuts) < len(found):
        return
    for space, lists in near.items():
        gaps = np.concatenate([_gaps(*cut, one) for cut, one in zip(cuts, lists, strict=True)], axis=1)
        won = np.where(np.abs(gaps) <= _TIE, 0.5, gaps > 0)
        yield (space, "in_rate"), p_value(won.mean(axis=1), 0.5)
        yield (space, "memorization_gap"), p_value(gaps.mean(axis=1), 0.0)


def of_scores(kept: Kept, nodes: Sequence[Node], scored: Sequence[tuple[Arrays, Bools]]) -> float | None:
    """p-value of the mean AUC. scored: of each trial its scores, and which of them are judged."""
    areas = []
    for node, (table, judged) in zip(nodes, scored, strict=True):
        cut = inside(kept, node)
        if cut is None:
            return None
        images, sides = cut
        members = sides[:, at(table["image_id"][judged], images)]
        ranks = rankdata(table["score"][judged])
        m = members.sum(axis=1)
        areas.append(((members @ ranks) / m - (m + 1) / 2) / (len(ranks) - m))
    return p_value(np.mean(areas, axis=0), 0.5)


def inside(kept: Kept, node: Node) -> tuple[npt.NDArray[np.int64], Bools] | None:
    """(images (U,), members (1 + D, U)) of a replica, as it was cut and under other cuts; mates share them."""
    pools = node.inputs.get("pools") or next(
        one.inputs["pools"] for one in kept.of("query", node.model) if one.replica == node.replica
    )
    sides, replica = kept.sides(pools, node.replica), node.replica or 0
    if sides is None or (pools, replica) in kept.cuts:
        return kept.cuts.get((pools, replica))
    chosen = sides["is_member"] | sides["is_out"]
    images, label, group, member = (sides[name][chosen] for name in ("image_id", "label", "group", "is_member"))
    first = member if replica % 2 == 0 else ~member
    seed = int.from_bytes(hashlib.sha256(f"{pools} {replica // 2} again".encode()).digest()[:8], "big")
    drawn = _drawn(first, label, group, np.random.default_rng(seed))
    kept.cuts[pools, replica] = images, drawn if replica % 2 == 0 else ~drawn
    return kept.cuts[pools, replica]


def _drawn(first: Bools, label: Floats, group: Floats, rng: np.random.Generator) -> Bools:
    """(1 + D, U): groups that lie on one side are exchanged as a whole, for others with images of the same classes."""
    members: dict[int, list[int]] = {}
    for image, name in enumerate(group.tolist()):
        members.setdefault(name, []).append(image)
    kinds: dict[tuple[int, ...], list[list[int]]] = {}
    for places in members.values():
        whole = len({bool(first[place]) for place in places}) == 1
        for unit in [places] if whole else [[place] for place in places]:
            ordered = sorted(unit, key=lambda place: label[place])
            kinds.setdefault(tuple(int(label[place]) for place in ordered), []).append(ordered)
    drawn = np.tile(first, (1 + NUM_CUTS, 1))
    for units in kinds.values():
        alike = np.array(units)
        order = rng.random((NUM_CUTS, len(alike))).argsort(axis=1)
        drawn[1:, alike] = first[alike[:, 0]][order][:, :, None]
    drawn[1:] ^= rng.random((NUM_CUTS, 1)) < 0.5
    return drawn


def _gaps(images: npt.NDArray[np.int64], members: Bools, near: Arrays) -> Floats:
    """(1 + D, N) cosine to the nearest member minus to the nearest non-member, among the kept nearest of both sides."""
    ids = np.concatenate([near["in_ids"], near["out_ids"]], axis=1)
    cosines = np.concatenate([near["in_cosines"], near["out_cosines"]], axis=1).astype(np.float64)
    gaps = np.empty((len(members), len(ids)))
    for i, (places, cosine) in enumerate(zip(at(ids, images), cosines, strict=True)):
        side = members[:, places]
        last = cosine.min()  # where all that were kept lie on one side
        gaps[:, i] = np.where(side, cosine, last).max(axis=1) - np.where(side, last, cosine).max(axis=1)
    return gaps
