"""Orders models: ranks from pairwise tests, and the front of those that no other beats."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmark.stats.significance import ALPHA, holm

Bools = npt.NDArray[np.bool_]


class Places(NamedTuple):
    """The place that a model may hold, 1 the best, `best` to `worst`; tied: which models it is not told apart from."""

    best: int
    worst: int
    tied: tuple[int, ...]


def told_apart(differences: npt.ArrayLike, p_values: npt.ArrayLike) -> Bools:
    """(M, M) bool: model i is significantly above model j, after Holm's correction over all pairs of the table.

    differences: (M, M), value of i minus value of j. p_values: (M, M), symmetric; NaN where the two are not compared.
    """
    p, d = np.asarray(p_values, dtype=np.float64), np.asarray(differences, dtype=np.float64)
    assert p.shape == d.shape == (len(p), len(p)), (p.shape, d.shape)
    rows, columns = np.triu_indices(len(p), 1)
    tested = ~np.isnan(p[rows, columns])
    rows, columns = rows[tested], columns[tested]
    significant = holm(p[rows, columns]) <= ALPHA
    above = np.zeros(p.shape, dtype=bool)
    above[rows, columns] = significant & (d[rows, columns] > 0)
    above[columns, rows] = significant & (d[rows, columns] < 0)
    return above


def places(better: Bools) -> list[Places]:
    """Of each of M models: 1 + how many are significantly better; tied with all that are neither better nor worse.

    better: (M, M) bool, model i is significantly better than j.
    """
    ties = ~(better | better.T)
    np.fill_diagonal(ties, False)
    ahead, behind = better.sum(axis=0), better.sum(axis=1)
    return [
        Places(1 + int(ahead[i]), len(better) - int(behind[i]), tuple(np.flatnonzero(ties[i]).tolist()))
        for i in range(len(better))
    ]


def unbeaten(better: "list[Bools]") -> Bools:
    """(M,) bool: no other model is significantly better in one of the criteria and significantly worse in none.

    better: for each criterion (M, M) bool, model i is significantly better than j.
    """
    one = np.any(better, axis=0)
    front: Bools = ~(one & ~one.T).any(axis=0)
    return front
