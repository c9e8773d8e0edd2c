import math

import numpy as np
import pytest
import torch

from benchmark.memorization.invertibility import class_mean_correlation, diversity, knn_distance, vendi_score


def rand(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_knn_distance_looks_only_at_members_of_the_class() -> None:
    members, member_labels = torch.tensor([[0.0, 0.0], [3.0, 4.0], [1.0, 0.0]]), torch.tensor([0, 0, 1])
    features = torch.tensor([[1.0, 0.0], [1.0, 0.0], [3.0, 5.0]])
    assert knn_distance(features, torch.tensor([0, 1, 0]), members, member_labels).tolist() == [1.0, 0.0, 1.0]
    with pytest.raises(ValueError, match="class 2 has no member"):
        knn_distance(features, torch.tensor([0, 1, 2]), members, member_labels)


def test_knn_distance_of_copies_is_exactly_zero_and_equals_brute_force() -> None:
    members, labels = rand(80, 64) * 100, torch.arange(80) % 4
    assert knn_distance(members[:9], labels[:9], members, labels).tolist() == [0.0] * 9
    queries, targets = rand(20, 64, seed=1) * 100, torch.arange(20) % 4
    expected = [
        min(float((q.double() - m.double()).norm()) for m in members[labels == t])
        for q, t in zip(queries, targets, strict=True)
    ]
    assert knn_distance(queries, targets, members, labels).tolist() == pytest.approx(expected)


def test_diversity_by_hand() -> None:
    """Pairs: orthogonal (1), opposite (2), orthogonal (1)."""
    assert diversity(torch.tensor([[2.0, 0.0], [0.0, 5.0], [-1.0, 0.0]])) == pytest.approx(4 / 3)
    assert diversity(torch.ones(4, 3) * torch.tensor([[1.0], [2.0], [3.0], [4.0]])) == pytest.approx(0.0, abs=1e-12)


def test_diversity_of_random_directions_is_one() -> None:
    features = torch.randn(60, 500, generator=torch.Generator().manual_seed(0))
    assert diversity(features) == pytest.approx(1.0, abs=0.01)


def test_vendi_score_in_closed_form() -> None:
    assert vendi_score(torch.eye(5)) == pytest.approx(5.0)
    assert vendi_score(torch.ones(5, 3)) == pytest.approx(1.0)
    assert vendi_score(torch.eye(3).repeat(4, 1)) == pytest.approx(3.0)  # copies add nothing
    angle = math.pi / 3  # eigenvalues of K / 2 are (1 + cos) / 2 and (1 - cos) / 2
    pair = torch.tensor([[1.0, 0.0], [math.cos(angle), math.sin(angle)]])
    assert vendi_score(pair) == pytest.approx(math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25)), rel=1e-6)


def test_diversity_needs_pairs_and_directions() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        diversity(torch.ones(1, 3))
    for measure in (diversity, vendi_score):
        with pytest.raises(ValueError, match="all zero"):
            measure(torch.tensor([[1.0, 0.0], [0.0, 0.0]]))


def test_class_mean_correlation_equals_numpy() -> None:
    members, member_labels = rand(12, 1, 5, 5), torch.arange(12) % 2
    images, labels = rand(6, 1, 5, 5, seed=1), torch.tensor([0, 1, 1, 0, 0, 1])
    means = [members[member_labels == c].double().mean(0).flatten() for c in (0, 1)]
    expected = [np.corrcoef(i.flatten(), means[c])[0, 1] for i, c in zip(images.double(), labels, strict=True)]
    assert class_mean_correlation(images, labels, members, member_labels).tolist() == pytest.approx(expected)


def test_class_mean_correlation_ignores_brightness_and_contrast() -> None:
    members, member_labels = rand(8, 3, 4, 4), torch.zeros(8, dtype=torch.int64)
    mean = members.mean(0)
    images = torch.stack([mean, 0.1 + 0.5 * mean, 1 - mean])
    found = class_mean_correlation(images, torch.zeros(3, dtype=torch.int64), members, member_labels)
    assert found.tolist() == pytest.approx([1.0, 1.0, -1.0], abs=1e-5)


def test_class_mean_correlation_of_a_constant_image_is_absent() -> None:
    members, member_labels = rand(8, 1, 28, 28), torch.zeros(8, dtype=torch.int64)
    images = torch.full((2, 1, 28, 28), 0.1)
    images[1, 0, 0, 0] += 1e-3
    found = class_mean_correlation(images, torch.zeros(2, dtype=torch.int64), members, member_labels)
    assert found.isnan().tolist() == [True, False]
    flat = torch.tensor([0.1, 0.2, 0.4]).reshape(3, 1, 1, 1).expand(3, 1, 28, 28)  # their mean is no float32
    assert class_mean_correlation(images, member_labels[:2], flat, member_labels[:3]).isnan().all()
    with pytest.raises(ValueError, match="class 1 has no member"):
        class_mean_correlation(images, torch.tensor([0, 1]), members, member_labels)
