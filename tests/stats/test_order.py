import numpy as np
import pytest

from benchmark.stats import places, told_apart, unbeaten


def test_models_are_told_apart_after_holm() -> None:
    """Three tests: 0.01, 0.02 and 0.04 become 0.03, 0.04 and 0.04; with 0.06 in place of the last, that one is not."""
    differences = np.array([[0, 1, 2], [-1, 0, 3], [-2, -3, 0.0]])
    p = np.array([[1, 0.01, 0.02], [0.01, 1, 0.04], [0.02, 0.04, 1]])
    assert told_apart(differences, p).tolist() == [[False, True, True], [False, False, True], [False] * 3]
    p[1, 2] = p[2, 1] = 0.06
    assert told_apart(differences, p).tolist() == [[False, True, True], [False] * 3, [False] * 3]


def test_what_was_not_compared_pays_for_nothing() -> None:
    p = np.full((3, 3), np.nan)
    p[0, 1] = p[1, 0] = 0.049
    assert told_apart(np.array([[0, 1, 1], [-1, 0, 1], [-1, -1, 0]]), p)[0].tolist() == [False, True, False]
    assert told_apart(np.zeros((0, 0)), np.zeros((0, 0))).shape == (0, 0)


def test_places_by_hand() -> None:
    """0 beats 2 and 3, 1 beats 3: 0 may be first or second, 3 third or fourth."""
    better = np.zeros((4, 4), dtype=bool)
    better[0, 2] = better[0, 3] = better[1, 3] = True
    assert [place[:2] for place in places(better)] == [(1, 2), (1, 3), (2, 4), (3, 4)]
    assert places(better)[2].tied == (1, 3)


@pytest.mark.parametrize("seed", range(3))
def test_the_front_equals_brute_force(seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 5, (2, 12))
    better = [value[:, None] > value[None] for value in values]
    expected = [
        not any((values[:, j] >= values[:, i]).all() and (values[:, j] > values[:, i]).any() for j in range(12))
        for i in range(12)
    ]
    assert unbeaten(better).tolist() == expected
