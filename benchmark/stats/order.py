"""Orders models: ranks with ties, and the Pareto front."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from benchmark.stats.intervals import Interval


def tied_ranks(intervals: Sequence[Interval | None], higher_is_better: bool) -> list[int | None]:
    """Rank of each entry: 1 + the number of entries whose whole interval is better than its whole interval.

    So equal ranks always overlap, and an entry that is wholly better always ranks higher. Overlap is not
    transitive: two entries that overlap get different ranks only where a third is wholly better than one
    of them and not than the other. Ends that touch overlap. None (not measured) has no rank.
    """
    sign = 1 if higher_is_better else -1
    ends = [None if i is None else sorted((sign * i.low, sign * i.high)) for i in intervals]
    return [None if e is None else 1 + sum(o is not None and o[0] > e[1] for o in ends) for e in ends]


def pareto_front(x_higher_better: npt.ArrayLike, y_lower_better: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """(M,) bool: no other entry is at least as good on both axes and better on one.

    Equal entries are on the front together. An entry with a NaN is never on it and keeps nobody off it.
    """
    x, y = np.asarray(x_higher_better, dtype=np.float64), np.asarray(y_lower_better, dtype=np.float64)
    assert x.ndim == 1 and x.shape == y.shape, (x.shape, y.shape)
    no_worse = (x[:, None] >= x) & (y[:, None] <= y)  # False wherever a NaN takes part
    better = (x[:, None] > x) | (y[:, None] < y)
    front: npt.NDArray[np.bool_] = ~(no_worse & better).any(axis=0) & ~np.isnan(x) & ~np.isnan(y)
    return front
