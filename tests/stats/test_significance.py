import numpy as np
import pytest
from scipy.stats import false_discovery_control

from benchmark.stats import holm


def test_holm_by_hand() -> None:
    """Four tests: 0.005 * 4, 0.01 * 3, then 0.03 * 2 holds up 0.04 * 1."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.7, 0.6]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []


def test_holm_is_no_laxer_than_benjamini_hochberg_and_no_stricter_than_bonferroni() -> None:
    p = np.random.default_rng(0).random(30) ** 3
    adjusted = holm(p)
    assert (adjusted >= false_discovery_control(p) - 1e-12).all()
    assert (adjusted <= np.minimum(p * 30, 1)).all()


@pytest.mark.parametrize("bad", [[-0.1], [1.1], [np.nan]])
def test_holm_refuses(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="0 to 1"):
        holm(bad)
