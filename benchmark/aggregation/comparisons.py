"""Compares the models of a suite two by two in every column that ranks: differences, places, and the Pareto front."""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmark import stats
from benchmark.aggregation import intervals_over_samples, paired_images
from benchmark.aggregation.strongest_membership import strongest
from benchmark.aggregation.suite_results import SuiteResults, method_of
from benchmark.metrics import LEADERBOARD_METRICS, Join, Metric, measured_by
from benchmark.stats import Crossed, Difference, Interval

MOST_PAIRED = 24
"""Models up to which every two are compared by what both were measured on; more are compared by their intervals."""
MOST_TIED = 13
FRONT = ("robust_accuracy", "evaluator_accuracy", "membership_auc")
"""The measures of the Pareto front: robustness, invertibility, membership."""

Bools = npt.NDArray[np.bool_]
Lines = Sequence[Mapping[str, Any]]


def paired(results: SuiteResults, board: Lines) -> list[dict[str, Any]]:
    """Rows of comparisons.parquet of a suite, by its leaderboard's lines; none where its models are too many."""
    if len(board) > MOST_PAIRED:
        return []
    parts = _Parts(results)
    found: list[dict[str, Any]] = []
    for metric in LEADERBOARD_METRICS:
        if metric.ranked:
            found += _of_column(parts, metric, {line["model"]: line for line in board if _known(line, metric.name)})
    return found


def _of_column(parts: "_Parts", metric: Metric, lines: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    cells = {model: parts.of(metric, model) for model in lines}
    found: list[tuple[str, str, Difference, bool]] = []
    for one, other in combinations(lines, 2):
        alike = _paired(metric, cells[one], cells[other])
        ends = (_interval(lines[model], metric.name) for model in (one, other))
        found.append((one, other, alike or stats.independent_difference(*ends), alike is not None))
    corrected = stats.holm([apart.p_value for _, _, apart, _ in found])
    return [
        {"suite": parts.results.name, "metric": metric.name, "model": one, "other": other, "difference": apart.value}
        | {"low": apart.low, "high": apart.high, "p_value": apart.p_value, "p_holm": float(p), "paired": alike}
        for (one, other, apart, alike), p in zip(found, corrected, strict=True)
    ]


def _paired(metric: Metric, one: Crossed | None, other: Crossed | None) -> Difference | None:
    """None where the two have not the same replicas, classes or images."""
    if one is None or other is None:
        return None
    share = metric.join in (Join.SAMPLE_RATE, Join.SMALLER_SPACE)
    compare: Callable[[Crossed, Crossed], Difference] = stats.share_difference if share else stats.paired_difference
    try:
        return compare(one, other)
    except ValueError:
        return None


class _Parts:
    """What a model's value is made of, where it can be compared with another's part by part."""

    def __init__(self, results: SuiteResults) -> None:
        self.results = results
        self._cubes: dict[tuple[str, str], dict[tuple[str, str], Any]] = {}

    def of(self, metric: Metric, model: str) -> Crossed | None:
        method = method_of(metric, self.results.about)
        if metric.join in intervals_over_samples.JOINS:
            return self._of_samples(metric, model, method)
        if metric.metric == "membership_auc":
            trials = strongest(self.results, model).trials.values()
            return stats.auc_cells([self.results.scores(done).scored for done in trials])
        return paired_images.crossed(self.results, model) if metric.join is Join.PAIRED_IMAGES else None

    def _of_samples(self, metric: Metric, model: str, method: str) -> Crossed | None:
        if (model, method) not in self._cubes:
            declared = measured_by(metric.stage)
            self._cubes[model, method] = intervals_over_samples.computed(self.results, model, method, declared)
        pairs = self.results.pairs(model, metric.stage, method)
        of_spaces = {s: v for (s, name), v in self._cubes[model, method].items() if name == metric.metric}
        if metric.join is Join.SMALLER_SPACE:
            known = [found for v in of_spaces.values() if (found := intervals_over_samples.crossed(v, pairs))]
            return min(known, key=lambda found: found.value) if len(known) == 2 else None
        own = of_spaces.get(metric.space)
        return None if own is None else intervals_over_samples.crossed(own, pairs)


def places(board: Lines, compared: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of ranks.parquet of a suite. compared: its rows of comparisons.parquet."""
    found = []
    for metric in LEADERBOARD_METRICS:
        if not metric.ranked:
            continue
        lines = [line for line in board if _known(line, metric.name)]
        better = above(lines, metric.name, compared)
        for line, place in zip(lines, stats.places(better if metric.better == "up" else better.T), strict=True):
            tied = [lines[i]["model"] for i in place.tied[:MOST_TIED]]
            found.append(
                {"suite": line["suite"], "model": line["model"], "metric": metric.name, "best": place.best}
                | {"worst": place.worst, "num_tied": len(place.tied), "tied": tied}
            )
    return found


def above(lines: Lines, name: str, compared: Sequence[Mapping[str, Any]]) -> Bools:
    """(M, M) bool: the value of model i is significantly above that of j."""
    rows = [row for row in compared if row["metric"] == name]
    if not rows:
        ends = [np.array([line[f"{name}{end}"] for line in lines], dtype=np.float64) for end in ("", "_low", "_high")]
        return stats.told_apart(*stats.independent_differences(*ends))
    place = {line["model"]: i for i, line in enumerate(lines)}
    found = np.zeros((len(lines), len(lines)), dtype=bool)
    for row in rows:
        if row["p_holm"] <= stats.ALPHA and row["model"] in place and row["other"] in place:
            i, j = place[row["model"]], place[row["other"]]
            found[(i, j) if row["difference"] > 0 else (j, i)] = True
    return found


def front(board: list[dict[str, Any]], compared: Sequence[Mapping[str, Any]]) -> None:
    """Set `pareto` and `pareto_note` of every line: whether another model beats it in the measures of `FRONT`."""
    lines = [line for line in board if all(_known(line, name) for name in FRONT[:2])]
    for line in board:
        line["pareto"] = line["pareto_note"] = None
    measured = [name for name in FRONT if any(_known(line, name) for line in lines)]
    metrics = {metric.name: metric for metric in LEADERBOARD_METRICS}
    better = []
    for name in measured:
        known = [i for i, line in enumerate(lines) if _known(line, name)]
        higher = np.zeros((len(lines), len(lines)), dtype=bool)
        higher[np.ix_(known, known)] = above([lines[i] for i in known], name, compared)
        better.append(higher if metrics[name].better == "up" else higher.T)
    if not lines:
        return
    titles = ", ".join(metrics[name].title for name in measured)
    largest = max((line["membership_auc"] for line in lines if _known(line, "membership_auc")), default=None)
    for line, on_front in zip(lines, stats.unbeaten(better), strict=True):
        line["pareto"] = bool(on_front)
        note = f"of {titles}: no other model is significantly better in one and significantly worse in none"
        if largest is not None and line.get("membership_auc") == largest and len(lines) > 1:
            note += f"; but its membership AUC, {largest:.3f}, is the largest of the suite"
        line["pareto_note"] = note if on_front else None


def _known(line: Mapping[str, Any], name: str) -> bool:
    return all(line.get(f"{name}{end}") is not None for end in ("", "_low", "_high"))


def _interval(line: Mapping[str, Any], name: str) -> Interval:
    return Interval(line[name], line[f"{name}_low"], line[f"{name}_high"], 0)
