"""Measured values of every reconstruction, and their means with intervals."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmark.metrics import METRICS, Join
from benchmark.stats import Interval, hierarchical_bootstrap, rate_interval, seed_of
from benchmark.trials.trial import Row

if TYPE_CHECKING:
    from torch import Tensor

RATES = frozenset(m.metric for m in METRICS if m.join in (Join.SAMPLE_RATE, Join.SMALLER_SPACE))
"""Metrics whose values are 0, 0.5 or 1: their interval is never of zero width."""

_LARGEST, _MOST_PLACES, _MOST_EMPTY = 1e100, 1_000, 10_000
"""Of a value; spaces times metrics of a table; cells of a measure of which most may be empty."""

SCHEMA = pa.schema(
    [
        ("class_id", pa.int64()),
        ("sample", pa.int64()),
        ("space", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
    ]
)
"""samples.parquet: sample is 0 where a value belongs to the whole class; an undefined value is null."""


class Samples:
    """Collects values in the order of the reconstructions, which are grouped by class.

    targets: (N,) target classes.
    """

    def __init__(self, targets: "Tensor") -> None:
        self.targets = targets
        classes = targets.tolist()
        self._places = [(c, classes[:i].count(c)) for i, c in enumerate(classes)]
        self._records: list[dict[str, object]] = []

    def add(self, space: str, metric: str, values: "Tensor") -> None:
        """One value a reconstruction, (N,); NaN is undefined."""
        assert values.shape == self.targets.shape, (metric, values.shape)
        for (class_id, sample), value in zip(self._places, values.double().tolist(), strict=True):
            self._record(space, metric, class_id, sample, value)

    def add_class(self, space: str, metric: str, class_id: int, value: float) -> None:
        """One value for all samples of a class."""
        self._record(space, metric, class_id, 0, value)

    def _record(self, space: str, metric: str, class_id: int, sample: int, value: float) -> None:
        defined = None if value != value else value
        self._records.append(
            {"class_id": class_id, "sample": sample, "space": space, "metric": metric, "value": defined}
        )

    def table(self) -> pa.Table:
        return pa.Table.from_pylist(self._records, schema=SCHEMA)

    def rows(self, key: str) -> list[Row]:
        """The rows that `rows_of` makes of them."""
        return rows_of(self.table(), key)


def rows_of(table: pa.Table, key: str) -> list[Row]:
    """Mean and interval of every (space, metric) of a table of samples. key: seeds the bootstrap."""
    return [
        mean_row(space, metric, values[None], f"{key}/{space}/{metric}")
        for (space, metric), values in cubes(table).items()
    ]


def cubes(table: pa.Table) -> dict[tuple[str, str], npt.NDArray[np.float64]]:
    """(space, metric) -> values (classes, samples) of one replica; NaN where there is none.

    table: of `SCHEMA`. Raises ValueError where it is not what `Samples` makes.
    """
    if any(table[name].null_count for name in ("space", "metric", "class_id", "sample")):
        raise ValueError("a value has no space, metric, class or sample")
    spaces, metrics = (table[name].combine_chunks().dictionary_encode() for name in ("space", "metric"))
    names = [column.dictionary.to_pylist() for column in (spaces, metrics)]
    pair = spaces.indices.to_numpy().astype(np.int64) * len(names[1]) + metrics.indices.to_numpy()
    classes, samples, values = (table[name].to_numpy() for name in ("class_id", "sample", "value"))
    if np.isinf(values).any() or (np.abs(values[~np.isnan(values)]) > _LARGEST).any():
        raise ValueError("a value is not finite")
    order = np.argsort(pair, kind="stable")
    pairs, first, counts = np.unique(pair, return_index=True, return_counts=True)
    if len(pairs) > _MOST_PLACES:
        raise ValueError(f"{len(pairs)} measures; allowed: at most {_MOST_PLACES}")
    found = {}
    ends = counts.cumsum()
    for i in np.argsort(first):
        at = order[ends[i] - counts[i] : ends[i]]
        place = names[0][pairs[i] // len(names[1])], names[1][pairs[i] % len(names[1])]
        found[place] = _grid(classes[at], samples[at], values[at])
        if place[1] in RATES and not ((found[place] >= 0) & (found[place] <= 1) | np.isnan(found[place])).all():
            raise ValueError(f"{place[1]} is outside [0, 1]")
    return found


def _grid(
    classes: npt.NDArray[np.int64], samples: npt.NDArray[np.int64], values: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    (rows, row), (columns, column) = (np.unique(ids, return_inverse=True) for ids in (classes, samples))
    if not len(values) <= len(rows) * len(columns) <= max(_MOST_EMPTY, 4 * len(values)):
        raise ValueError(f"{len(values)} values of {len(rows)} classes and {len(columns)} samples")
    grid = np.full((len(rows), len(columns)), np.nan)
    grid[row, column] = values
    return grid


def mean_row(space: str, metric: str, values: npt.NDArray[np.float64], seed: str) -> Row:
    """Row of a mean over values (replicas, classes, samples), with its 95% interval."""
    if not np.isfinite(values).any():
        return Row(space=space, metric=metric, value=None, n=0, note="undefined for every reconstruction")
    mean = mean_interval(metric, values, seed)
    return Row(space=space, metric=metric, value=mean.value, low=mean.low, high=mean.high, n=mean.n)


def mean_interval(metric: str, values: npt.NDArray[np.float64], seed: str, level: float = 0.95) -> Interval:
    """Hierarchical bootstrap over replica, class, sample; for rates never of zero width."""
    interval = rate_interval if metric in RATES else hierarchical_bootstrap
    return interval(values, seed_of(seed, 4), level=level)
