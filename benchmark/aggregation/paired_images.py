"""Joins what is kept of every private image over the replicas that trained on it, and those that did not."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from benchmark import stats
from benchmark.aggregation.intervals_over_samples import interval_row
from benchmark.aggregation.suite_results import SuiteResults
from benchmark.results.store import CorruptArtifact
from benchmark.stats import Crossed
from benchmark.trials.trial import Row

Bools = npt.NDArray[np.bool_]


ONE_PAIR = "one pair of replicas: the interval is about these trainings and other images, not about other trainings"


def rows(results: SuiteResults, model: str, metric: str) -> Iterator[Row]:
    """P(right | trained on it) - P(right | not) over the images that one of a pair trained on."""
    found = crossed(results, model)
    if found is not None:
        yield interval_row(metric, found.interval(), note=ONE_PAIR if len(found.unit_names) == 1 else None)
    elif results.of(model, "predict"):
        note = "no image was judged by two replicas of which one trained on it: a pair is needed"
        yield Row(space="", metric=metric, value=None, n=0, note=note)


def crossed(results: SuiteResults, model: str) -> Crossed | None:
    """As pairs crossed with images; None where no pair is complete."""
    trials = results.of(model, "predict")
    values, images, pairs = [], [], []
    for replica, first in trials.items():
        mate = trials.get(replica + 1)
        if replica % 2 or mate is None:
            continue
        (right, inside), (right_of_mate, inside_mate) = (_outcomes(results, done.key) for done in (first, mate))
        if len(right) != len(right_of_mate):
            raise CorruptArtifact(mate.key, "tensors.safetensors", "not as many private images as its mate has")
        judged = inside != inside_mate
        if judged.any():
            sign = np.where(inside[judged], 1.0, -1.0)
            values.append(sign * (right[judged].astype(float) - right_of_mate[judged]))
            images.append(np.flatnonzero(judged))
            pairs.append(first.pair)
    return stats.paired_images(values, images, pairs) if values else None


def _outcomes(results: SuiteResults, key: str) -> tuple[Bools, Bools]:
    """(P,) bool each: whether the class of each private image is told right, and whether it is a member."""
    if "tensors.safetensors" not in results.store.sizes(key):
        return np.zeros(0, dtype=bool), np.zeros(0, dtype=bool)
    right, inside = results.store.arrays(key, "correct", "is_member")
    if not right.shape == inside.shape == (len(right),) or not right.dtype == inside.dtype == np.bool_:
        raise CorruptArtifact(key, "tensors.safetensors", "no outcome for each private image")
    return right, inside
