"""p-values by cutting the private images anew, drawn by another generator: equal up to the noise of drawing."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from benchmark.rederivation.cuts import NUM_CUTS
from benchmark.rederivation.kept import Arrays, Kept, Node, at

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
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
    queried = (one.inputs["pools"] for one in kept.of("query", node.model) if one.replica == node.replica)
    pools = node.inputs.get("pools") or next(queried, None)
    return None if pools is None else kept.cut(pools, node.replica or 0)


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
