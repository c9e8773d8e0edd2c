"""The ROC curves of membership attacks, thinned out for a page with logarithmic axes. No torch."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from benchmark.aggregation.suite_results import SuiteResults

_POINTS = 80
Curve = list[tuple[float, float]]
"""(false-positive rate, true-positive rate), both ascending; the last is (1, 1)."""


def curves(results: SuiteResults, model: str) -> dict[str, Curve]:
    """Membership attack -> its curve over the model's replicas. Raises CorruptArtifact."""
    found = {}
    for method in results.methods(model, "infer_membership"):
        trials = results.of(model, "infer_membership", method).values()
        scored = [results.scores(done).scored for done in trials]
        found[method] = curve([(each.scores, each.is_member) for each in scored])
    return {method: points for method, points in found.items() if points}


def curve(replicas: Sequence[tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]]) -> Curve:
    """Mean true-positive rate of replicas at each of some false-positive rates, evenly spaced on a log scale.

    replicas: (scores (N,), is_member (N,)) of each. The rates begin at that of one false alarm among the fewest
    non-members; at each a replica's threshold is the lowest that no more of its non-members exceed.
    """
    if not replicas:
        return []
    fewest = min(int((~member).sum()) for _, member in replicas)
    rates = np.unique(np.ceil(np.geomspace(1, fewest, _POINTS)) / fewest)
    found = np.mean([_true_positives(scores, member, rates) for scores, member in replicas], axis=0)
    return list(zip(rates.tolist(), found.tolist(), strict=True))


def _true_positives(
    scores: npt.NDArray[np.float64], member: npt.NDArray[np.bool_], rates: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    inside, outside = np.sort(scores[member]), np.sort(scores[~member])
    allowed = np.floor(rates * len(outside) + 1e-9).astype(np.int64)
    thresholds = np.append(outside[::-1], -np.inf)[allowed]
    above: npt.NDArray[np.float64] = 1 - np.searchsorted(inside, thresholds, "right") / len(inside)
    return above
