"""Corrections for many tests."""

import numpy as np
import numpy.typing as npt

ALPHA = 0.05
"""What is rarer than this if nothing is there is significant: of one test, or of a table's together."""


def holm(p_values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """(M,) p-values adjusted for M tests, in the given order (Holm 1979). Reject those <= alpha.

    Raises ValueError for a p-value outside [0, 1].
    """
    p = np.asarray(p_values, dtype=np.float64)
    assert p.ndim == 1, p.shape
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p_values is {p.tolist()}; allowed: 0 to 1 each")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return adjusted
