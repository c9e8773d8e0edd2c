"""Joins medians over images that all replicas share: the mean of the replicas' medians, with its interval."""

from collections.abc import Iterator, Mapping

from benchmark import stats
from benchmark.aggregation.finished_trial import Done, pair_of, spaces_of
from benchmark.aggregation.intervals_over_samples import interval_row
from benchmark.stats import Interval
from benchmark.trials.trial import Row


def rows(trials: Mapping[int, Done], metric: str) -> Iterator[Row]:
    """A row a space. trials: of the replicas. Empty, with the reason, where the median of a replica is infinite."""
    for space in spaces_of(trials, metric):
        found = {replica: row for replica, done in trials.items() if (row := done.row(metric, space))}
        infinite = [row for row in found.values() if row["value"] is None]
        if infinite:
            yield Row(space=space, metric=metric, value=None, n=infinite[0]["n"], note=infinite[0]["note"])
            continue
        ends = {name: [row[name] for row in found.values()] for name in ("value", "low", "high", "n")}
        if any(None in ends[name] for name in ("low", "high")):  # the upper end of a replica is infinite
            value = sum(ends["value"]) / len(found)
            note = next(row["note"] for row in found.values() if row["note"])
            yield Row(space=space, metric=metric, value=value, n=min(ends["n"]), note=note)
            continue
        medians = [Interval(*each) for each in zip(*ends.values(), strict=True)]
        pairs = [pair_of(replica) for replica in found]
        yield interval_row(metric, stats.mean_of_medians(medians, pairs), space)
