import pytest
import torch

from benchmark.memorization.whitening import Whitener


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def correlated(num: int, dim: int, seed: int = 0) -> torch.Tensor:
    return normal(num, dim, seed=seed) @ (normal(dim, dim, seed=99) * torch.logspace(0, -1, dim)) + 5


def test_no_shrinkage_gives_the_identity_covariance() -> None:
    features = correlated(500, 8)
    white = Whitener.fit(features, shrinkage=0.0)(features)
    assert white.dtype == torch.float32
    assert white.mean(dim=0).tolist() == pytest.approx([0.0] * 8, abs=1e-5)
    torch.testing.assert_close(torch.cov(white.T), torch.eye(8), atol=1e-4, rtol=0)


@pytest.mark.parametrize("shrinkage", [0.1, 1.0])
def test_shrinkage_in_closed_form(shrinkage: float) -> None:
    """Whitened variance of a direction is l / ((1 - s) l + s mean l)."""
    features = correlated(500, 8)
    variance = torch.linalg.eigvalsh(torch.cov(features.double().T)).flip(0)
    expected = variance / ((1 - shrinkage) * variance + shrinkage * variance.mean())
    white = Whitener.fit(features, shrinkage)(features)
    torch.testing.assert_close(torch.cov(white.T).double(), expected.diag(), atol=1e-4 * float(expected.max()), rtol=0)


def test_default_keeps_near_constant_directions_small() -> None:
    features = normal(2000, 3) * torch.tensor([1.0, 1.0, 1e-3])
    plain, shrunk = Whitener.fit(features, shrinkage=0.0)(features), Whitener.fit(features)(features)
    assert float(plain.var(dim=0)[2]) == pytest.approx(1.0, rel=1e-3)
    assert float(shrunk.var(dim=0)[2]) < 1e-4
    assert float(shrunk.var(dim=0)[0]) > 0.9


def test_dead_and_repeated_directions_drop_out() -> None:
    alive = correlated(100, 3)
    features = torch.cat([alive, torch.full((100, 2), 7.0), alive[:, :1]], dim=1)
    white = Whitener.fit(features, shrinkage=0.0)(features)
    assert white.shape == (100, 3)
    torch.testing.assert_close(torch.cov(white.T), torch.eye(3), atol=1e-4, rtol=0)


def test_fewer_images_than_features() -> None:
    features = correlated(6, 20)
    assert Whitener.fit(features)(features).shape == (6, 5)


def test_the_result_does_not_depend_on_the_order_of_images_or_the_sign_of_eigenvectors() -> None:
    features, others = correlated(300, 6), correlated(10, 6, seed=5)
    a = Whitener.fit(features)
    b = Whitener.fit(features[torch.randperm(300, generator=torch.Generator().manual_seed(0))])
    torch.testing.assert_close(a(others), b(others), atol=1e-4, rtol=0)
    peaks = a.projection.gather(0, a.projection.abs().argmax(dim=0, keepdim=True))
    assert bool((peaks > 0).all())
    assert torch.equal(Whitener.fit(features)(others), a(others))


def test_cosines_do_not_depend_on_a_rotation_and_scale_of_the_features() -> None:
    """What makes cosines of different models comparable."""
    features, others = correlated(300, 6).double(), correlated(10, 6, seed=5).double()
    rotation = torch.linalg.qr(normal(6, 6, seed=3).double()).Q * 12.5
    here = Whitener.fit(features)(others)
    there = Whitener.fit(features @ rotation + 3)(others @ rotation + 3)
    torch.testing.assert_close(here @ here.T, there @ there.T, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("features", "shrinkage", "message"),
    [
        (torch.ones(1, 3), 0.1, "at least 2"),
        (torch.full((10, 3), 0.1), 0.1, "all equal"),
        (torch.tensor([[1.0, float("nan")], [0.0, 1.0]]), 0.1, "NaN"),
        (torch.eye(3), 1.1, "shrinkage is 1.1"),
        (torch.eye(3), -0.1, "shrinkage"),
    ],
)
def test_fit_refuses(features: torch.Tensor, shrinkage: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Whitener.fit(features, shrinkage)
