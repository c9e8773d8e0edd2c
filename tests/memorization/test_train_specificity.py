import math

import pytest
import torch
from scipy.stats import entropy

from benchmark.memorization.train_specificity import (
    distance_ratio,
    effective_number,
    exposure_counts,
    gini,
    in_wins,
    memorization_gap,
    neighbour_purity_at_k,
)


def test_in_wins_by_hand() -> None:
    s_in = torch.tensor([0.9, 0.2, 0.5, 1.0, 1.0])
    s_out = torch.tensor([0.8, 0.3, 0.5, 0.9999999, 0.99999])
    assert in_wins(s_in, s_out).tolist() == [1.0, 0.0, 0.5, 0.5, 1.0]


def test_in_wins_of_exchangeable_galleries_is_a_half() -> None:
    s_in, s_out = torch.rand(2, 5000, generator=torch.Generator().manual_seed(0))
    assert float(in_wins(s_in, s_out).mean()) == pytest.approx(0.5, abs=0.03)
    assert (in_wins(s_in, s_out) + in_wins(s_out, s_in)).tolist() == [1.0] * 5000


def test_gap_and_ratio_by_hand() -> None:
    s_in, s_out = torch.tensor([0.75, 0.5]), torch.tensor([0.25, 0.75])
    assert memorization_gap(s_in, s_out).tolist() == [0.5, -0.25]
    assert distance_ratio(s_in, s_out) == (0.75, None)


def test_distance_ratio_on_copies_of_non_members_is_empty_with_a_reason() -> None:
    value, note = distance_ratio(torch.tensor([0.5, 0.5]), torch.tensor([1.0000002, 1.0]))
    assert value is None
    assert note is not None and "non-members" in note
    assert distance_ratio(torch.ones(2), torch.tensor([0.5, 0.5])) == (0.0, None)


def test_neighbor_purity_by_hand() -> None:
    labels = torch.tensor([[1, 1, 2, 1], [0, 3, 3, 3], [2, 2, 2, 2]])
    assert neighbour_purity_at_k(labels, torch.tensor([1, 0, 2])).tolist() == [0.75, 0.25, 1.0]


def test_exposure_counts_follow_the_order_of_the_members() -> None:
    counts = exposure_counts(torch.tensor([7, 3, 7, 40]), torch.tensor([40, 3, 9, 7]))
    assert counts.tolist() == [1, 1, 0, 2]
    for stranger in (8, 41):
        with pytest.raises(AssertionError, match="not a member"):
            exposure_counts(torch.tensor([stranger]), torch.tensor([40, 3, 9, 7]))


def test_gini_in_closed_form() -> None:
    assert gini(torch.tensor([3, 3, 3, 3])) == 0.0
    assert gini(torch.tensor([0, 0, 8, 0])) == 0.75
    assert gini(torch.arange(1, 101)) == pytest.approx(99 / 300)  # (m - 1) / 3m for 1..m


def test_gini_equals_the_mean_absolute_difference() -> None:
    counts = torch.randint(0, 9, (50,), generator=torch.Generator().manual_seed(0)).double()
    expected = (counts[:, None] - counts).abs().mean() / (2 * counts.mean())
    assert gini(counts) == pytest.approx(float(expected))


def test_effective_number_in_closed_form() -> None:
    assert effective_number(torch.tensor([0, 5, 0])) == 1.0
    assert effective_number(torch.tensor([2, 2, 2, 0])) == pytest.approx(3.0)
    assert effective_number(torch.tensor([1, 3])) == pytest.approx(math.exp(entropy([1, 3])))


def test_no_exposure_at_all_is_an_error() -> None:
    for measure in (gini, effective_number):
        with pytest.raises(ValueError, match="all zero"):
            measure(torch.zeros(5, dtype=torch.int64))
