"""Joins measures that have one value a reconstruction over all replicas, with intervals and nulls."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from benchmark import stats
from benchmark.aggregation import recut_nulls
from benchmark.aggregation.pair_cuts import PairCuts
from benchmark.aggregation.recut_nulls import Judged
from benchmark.aggregation.suite_results import SuiteResults
from benchmark.metrics import Join, Metric
from benchmark.schema import JUDGES
from benchmark.stages.shared.samples import RATES
from benchmark.stats import Crossed, Interval
from benchmark.trials.trial import Row

JOINS = (Join.SAMPLES, Join.SAMPLE_RATE, Join.SMALLER_SPACE)

Cube = npt.NDArray[np.float64]
"""(replicas, classes, samples); NaN where there is none."""


def rows(results: SuiteResults, cuts: PairCuts, model: str, method: str, metrics: Sequence[Metric]) -> Iterator[Row]:
    """Everything in the tables of samples of an attack on a model, declared or not, and what follows from it."""
    cubes, pairs = computed(results, model, method, metrics), results.pairs(model, "leakage", method)
    judged = recut_nulls.of_reconstructions(results, cuts, model, method) if cubes else {}
    by_space: dict[str, dict[str, Row]] = {}
    for (space, name), values in cubes.items():
        null = judged.get((space, name))
        row = mean_row(space, name, values, pairs, null and null.of_cut)
        if null is not None:
            row["note"] = null.words()
        by_space.setdefault(name, {})[space] = row
        yield row
    declared = [metric.metric for metric in metrics if metric.join is Join.RECUT]
    yield from recut_nulls.rows(judged, declared)
    for metric in metrics:
        of_spaces = by_space.get(metric.metric, {})
        if metric.join is Join.SMALLER_SPACE and len(of_spaces) == 2:
            smaller = min(of_spaces, key=lambda space: of_spaces[space]["value"] or 0.0)
            yield {**of_spaces[smaller], "space": "", "note": f"smaller of the two evaluators: {smaller}"}
    yield from _headline({space: values for (space, name), values in cubes.items() if name == "in_rate"}, judged, pairs)


def _headline(
    rates: Mapping[str, Cube], judged: Mapping[tuple[str, str], Judged], pairs: Sequence[int]
) -> Iterator[Row]:
    """The IN rate of the space with the strongest evidence, with its p-value and power; of space "".

    Looking in three spaces is paid for: the p-value is Holm's, and the interval covers all three at 95% together.
    """
    spaces = [space for space in JUDGES if space in rates and np.isfinite(rates[space]).any()]
    known = [space for space in spaces if (space, "in_rate") in judged]
    if not spaces:
        return
    if len(known) < len(spaces):
        rate = stats.share_interval(rates[spaces[0]], pairs)
        note = f"{spaces[0]}: not held against other cuts, for which trials are missing, so that no space is chosen"
        yield interval_row("in_rate", rate, note=note)
        for metric in ("in_rate_p_value", "in_rate_power"):
            yield Row(space="", metric=metric, value=None, n=rate.n, note=note)
        return
    p_values = [judged[space, "in_rate"].p_value for space in known]
    strength = [(-p, judged[space, "in_rate"].null.standardised()) for space, p in zip(known, p_values, strict=True)]
    best = max(range(len(known)), key=strength.__getitem__)
    chosen, p_value = judged[known[best], "in_rate"], float(stats.holm(p_values)[best])
    rate = stats.share_interval(rates[known[best]], pairs, 1 - stats.ALPHA / len(known), chosen.of_cut)
    of = f"strongest of {', '.join(known)}: {known[best]}"
    told = "no value" if chosen.told is None else f"{chosen.told:.2f}"
    yield interval_row(
        "in_rate", rate, note=f"{of}; p = {p_value:.3f} after Holm; would have told {told} from 0.5 in it"
    )
    yield Row(space="", metric="in_rate_p_value", value=p_value, n=rate.n, note=f"{of}, after Holm")
    none = "no value would have been told from 0.5: too few reconstructions, or all at the same images"
    yield Row(
        space="", metric="in_rate_power", value=chosen.told, n=rate.n, note=none if chosen.told is None else known[best]
    )


def computed(results: SuiteResults, model: str, method: str, metrics: Sequence[Metric]) -> dict[tuple[str, str], Cube]:
    """The measures of the tables of samples, and the metrics with a function of others where all of those are."""
    cubes = dict(results.cubes(model, method))
    found = {}
    for metric in metrics:
        if metric.join not in JOINS or not metric.function or metric.of_features:
            continue
        for space in dict.fromkeys(space for space, _ in cubes):
            if all((space, name) in cubes for name in metric.of):
                values = metric.load()(*(cubes[space, name] for name in metric.of))
                found[space, metric.metric] = np.asarray(values, dtype=np.float64)
    return cubes | found


def crossed(values: Cube, pairs: Sequence[int]) -> Crossed | None:
    """As pairs crossed with classes; None where no reconstruction has a value."""
    return stats.crossed_mean(values, pairs) if np.isfinite(values).any() else None


def mean_row(space: str, metric: str, values: Cube, pairs: Sequence[int], of_cut: float | None = None) -> Row:
    """Row of a mean over values, with its 95% interval; for rates never of zero width."""
    if not np.isfinite(values).any():
        return Row(space=space, metric=metric, value=None, n=0, note="undefined for every reconstruction")
    interval = stats.share_interval if metric in RATES else stats.mean_interval
    return interval_row(metric, interval(values, pairs, of_cut=of_cut), space)


def interval_row(metric: str, found: Interval, space: str = "", note: str | None = None) -> Row:
    return Row(space=space, metric=metric, value=found.value, low=found.low, high=found.high, n=found.n, note=note)
