"""ROC curves by hand, and against `tpr_at_fpr`."""

import numpy as np
import pytest

from benchmark.aggregation.roc_curves import curve
from benchmark.stats import auc, tpr_at_fpr


def test_by_hand() -> None:
    scores, member = np.array([5.0, 3.0, 1.0, 4.0, 2.0]), np.array([True, True, True, False, False])
    assert curve([(scores, member)]) == [(0.5, pytest.approx(2 / 3)), (1.0, 1.0)]
    assert curve([]) == []


def test_every_point_is_a_rate_at_that_threshold() -> None:
    rng = np.random.default_rng(0)
    replicas = [(rng.integers(0, 60, 900) + 9 * member, member) for member in rng.random((2, 900)) < 0.5]
    points = curve([(scores.astype(float), member) for scores, member in replicas])
    for fpr, tpr in points[:-1]:
        # a rate just above: rounding must not take away the false alarm that it allows
        assert tpr == pytest.approx(np.mean([tpr_at_fpr(s, m, fpr + 1e-12) for s, m in replicas]))
    assert 50 < len(points) <= 80 and points[-1] == (1.0, 1.0)
    assert (np.diff(points, axis=0)[:, 0] > 0).all() and (np.diff(points, axis=0)[:, 1] >= 0).all()


def test_noise_lies_on_the_diagonal_and_the_area_is_kept() -> None:
    rng = np.random.default_rng(1)
    member = np.arange(4000) % 2 == 0
    fpr, tpr = np.array(curve([(rng.normal(size=4000), member)])).T
    assert (np.abs(tpr - fpr) < 4 * np.sqrt(fpr * (1 - fpr) / 1000) + 1e-9).all()
    scores = rng.normal(size=4000) + member
    fpr, tpr = np.array([(0.0, 0.0), *curve([(scores, member)])]).T
    assert np.trapezoid(tpr, fpr) == pytest.approx(auc(scores, member), abs=0.01)
