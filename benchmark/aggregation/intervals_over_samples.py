"""Joins measures that have one value a reconstruction over all replicas, with intervals from nested bootstraps."""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from benchmark import stats
from benchmark.aggregation.suite_results import SuiteResults
from benchmark.metrics import Join, Metric
from benchmark.stages.shared.samples import mean_row
from benchmark.trials.trial import Row

JOINS = (Join.SAMPLES, Join.SAMPLE_RATE, Join.SMALLER_SPACE, Join.SWAP_TEST)

Cube = npt.NDArray[np.float64]
"""(replicas, classes, samples); NaN where there is none."""


def rows(results: SuiteResults, model: str, method: str, metrics: Sequence[Metric]) -> Iterator[Row]:
    """Everything in the tables of samples of an attack on a model, declared or not, and what follows from it."""
    cubes = dict(results.cubes(model, method))
    cubes |= _computed(cubes, metrics)
    by_space: dict[str, dict[str, Row]] = {}
    for (space, name), values in cubes.items():
        row = mean_row(space, name, values, f"{results.name}/{model}/{method}/{space}/{name}")
        by_space.setdefault(name, {})[space] = row
        yield row
        for test in metrics:
            if test.join is Join.SWAP_TEST and test.of == (name,) and np.isfinite(values).any():
                p = stats.swap_test(values, seed_of(results.name, model, method, space))
                note = "swapping IN and OUT of each (replica, class); replicas are few"
                yield Row(space=space, metric=test.metric, value=p, n=int(np.isfinite(values).sum()), note=note)
    for metric in metrics:
        of_spaces = by_space.get(metric.metric, {})
        if metric.join is Join.SMALLER_SPACE and len(of_spaces) == 2:
            smaller = min(of_spaces, key=lambda space: of_spaces[space]["value"] or 0.0)
            yield {**of_spaces[smaller], "space": "", "note": f"smaller of the two evaluators: {smaller}"}


def _computed(cubes: dict[tuple[str, str], Cube], metrics: Sequence[Metric]) -> dict[tuple[str, str], Cube]:
    """The metrics with a function of others, in every space that has all of those."""
    found = {}
    for metric in metrics:
        if metric.join not in JOINS or not metric.function or metric.of_features:
            continue
        for space in dict.fromkeys(space for space, _ in cubes):
            if all((space, name) in cubes for name in metric.of):
                values = metric.load()(*(cubes[space, name] for name in metric.of))
                found[space, metric.metric] = np.asarray(values, dtype=np.float64)
    return found


def seed_of(*parts: str) -> int:
    return int.from_bytes(hashlib.sha256("/".join(parts).encode()).digest()[:4], "big")
