"""Holds in_rate, memorization gap and membership AUC of a model against cuts of the private images that were as likely.

Each becomes three rows: `<metric>_p_value`; `<metric>_null`, where it lies in 95% of the cuts; and `<metric>_power`,
the smallest value that would have been told from the null value with probability 0.8.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from benchmark.aggregation.finished_trial import Done
from benchmark.aggregation.pair_cuts import Ints, PairCuts, Recut
from benchmark.aggregation.suite_results import SuiteResults
from benchmark.memorization import recut
from benchmark.memorization.recut import NUM_CUTS, POWER, Floats, Null
from benchmark.results.store import CorruptArtifact
from benchmark.schema import SPACES
from benchmark.stats import ALPHA
from benchmark.trials.trial import Row

_MADE = f"private images cut anew {NUM_CUTS} times"


class Judged(NamedTuple):
    """A statistic held against its null. told: the smallest value that is told from it; None: none would be.

    of_cut: the variance of half the difference between two replicas under other cuts, see `stats.crossed_mean`; None
    where there are not two.
    """

    null: Null
    told: float | None
    n: int
    of_cut: float | None = None

    @property
    def p_value(self) -> float:
        return self.null.p_value()

    def words(self) -> str:
        """For people, beside the value."""
        told = "no value" if self.told is None else f"{self.told:.2f}"
        return f"p = {self.p_value:.3f} by re-cutting; would have told {told} from {self.null.centre:g}"


def of_reconstructions(results: SuiteResults, cuts: PairCuts, model: str, method: str) -> dict[tuple[str, str], Judged]:
    """(space, metric) -> in_rate and memorization_gap of all replicas; nothing where a trial is missing."""
    trials = results.of(model, "neighbours", method)
    if not trials or trials.keys() != results.of(model, "leakage", method).keys():
        return {}
    made = [cut for done in trials.values() if (cut := cuts.of(done)) is not None]
    if len(made) < len(trials):
        return {}
    near = [neighbours(results, done) for done in trials.values()]
    found: dict[tuple[str, str], Judged] = {}
    for space in SPACES:
        parts = zip(trials.values(), made, near, strict=True)
        gaps = [_gaps(done, cut, sides[space]) for done, cut, sides in parts]
        won = [recut.wins(part) for part in gaps]
        found[space, "in_rate"] = _in_rate(won)
        every = np.concatenate(gaps, axis=1).mean(axis=1)
        null = Null(float(every[0]), every[1:], 0.0)
        found[space, "memorization_gap"] = Judged(null, null.told_from(), sum(map(_size, gaps)), _of_cut(gaps))
    return found


class Sides(NamedTuple):
    """The nearest members and non-members of N reconstructions: ids and falling cosines, (N, k) each."""

    inside: tuple[Ints, Floats]
    outside: tuple[Ints, Floats]


def neighbours(results: SuiteResults, done: Done) -> dict[str, Sides]:
    """What a trial found in each of `SPACES`. Raises CorruptArtifact."""
    names = [f"{space}_{side}_{what}" for space in SPACES for side in ("in", "out") for what in ("ids", "cosines")]
    near = results.store.arrays(done.key, *names)  # one read of the file
    if any(part.ndim != 2 or not part.size or len(part) != len(near[0]) for part in near):
        raise CorruptArtifact(done.key, "tensors.safetensors", "no lists of neighbours")
    if any(ids.shape != cosines.shape for ids, cosines in zip(near[::2], near[1::2], strict=True)):
        raise CorruptArtifact(done.key, "tensors.safetensors", "not a cosine for each neighbour")
    parts = zip(SPACES, *(near[start::4] for start in range(4)), strict=True)
    return {space: Sides((ids, cosines), (others, far)) for space, ids, cosines, others, far in parts}


def _gaps(done: Done, made: Recut, near: Sides) -> Floats:
    """(1 + D, N) s_in - s_out of a replica's reconstructions, under the cut that was made and under others."""
    try:
        nearest = recut.merged(made.cut, *near)
    except ValueError as error:
        raise CorruptArtifact(done.key, "tensors.safetensors", str(error)) from error
    assert done.replica is not None  # it has a cut
    return recut.gaps(nearest, made.of(done.replica))


def _in_rate(won: Sequence[Floats]) -> Judged:
    rates = np.concatenate(won, axis=1).mean(axis=1)
    null = Null(float(rates[0]), rates[1:], 0.5)
    told = recut.smallest_told(null, [part[1:] for part in won], np.random.default_rng(0))
    return Judged(null, told, sum(map(_size, won)), _of_cut(won))


def _size(part: Floats) -> int:
    return int(part.shape[1])


def _of_cut(parts: Sequence[Floats]) -> float | None:
    if len(parts) != 2:
        return None
    one, other = (part[1:].mean(axis=1) for part in parts)
    return float(np.square((one - other) / 2).mean())


def of_scores(results: SuiteResults, cuts: PairCuts, model: str, trials: Mapping[int, Done]) -> Judged | None:
    """The mean AUC of all replicas; None where the cuts are not known. trials: of `infer_membership`, by replica."""
    found, n = [], 0
    predicted = results.of(model, "predict")
    for replica, done in trials.items():
        made = cuts.of(predicted[replica]) if replica in predicted else None
        scores = results.scores(done)
        image = scores.image[scores.run.judged]
        if made is None or not np.isin(image, made.cut.images).all():
            return None
        places = np.searchsorted(made.cut.images, image)
        found.append(recut.aucs(scores.scored.scores, places, made.of(replica)))
        n += len(image)
    if not found:
        return None
    areas = np.mean(found, axis=0)
    null = Null(float(areas[0]), areas[1:], 0.5)
    return Judged(null, null.told_from(), n)


def rows(found: Mapping[tuple[str, str], Judged], declared: Sequence[str]) -> Iterator[Row]:
    """The rows of every statistic, of the metrics that are declared."""
    for (space, metric), judged in found.items():
        low, high = judged.null.band()
        place, centre = {"space": space, "n": judged.n}, judged.null.centre
        told = f"the smallest value that is told from {centre:g} at {ALPHA:g} with probability {POWER:g}"
        if judged.told is None:
            told = f"no value would have been told from {centre:g}: too few reconstructions, or all at the same images"
        made = [
            Row(metric=f"{metric}_p_value", value=judged.p_value, note=_MADE, **place),  # type: ignore[typeddict-item]
            Row(metric=f"{metric}_null", value=centre, low=low, high=high, note=_MADE, **place),  # type: ignore[typeddict-item]
            Row(metric=f"{metric}_power", value=judged.told, note=told, **place),  # type: ignore[typeddict-item]
        ]
        yield from (row for row in made if row["metric"] in declared)
