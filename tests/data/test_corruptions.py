"""Common corruptions: identity at severity 0, known values, and what grows with severity."""

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmark.data.corruptions import CORRUPTIONS, SEVERITIES, corrupted
from benchmark.data.embedded import FashionMNIST13k

EACH = pytest.mark.parametrize("name", CORRUPTIONS)


@pytest.fixture(scope="module")
def clothes() -> Tensor:
    return FashionMNIST13k().load(None).test_images[:100].float() / 255


def draw(images: Tensor, name: str, severity: int, seed: int = 0) -> Tensor:
    return corrupted(images, name, severity, torch.Generator().manual_seed(seed))


@EACH
def test_severity_grows_and_zero_is_the_image(name: str, clothes: Tensor) -> None:
    changes = [float((draw(clothes, name, s) - clothes).square().mean().sqrt()) for s in (0, *SEVERITIES)]
    assert changes[0] == 0 and torch.equal(draw(clothes, name, 0), clothes)
    assert min(changes[1:]) > 0.004
    if name in ("glass_blur", "pixelate"):  # the authors' own strengths are in no order of this distance
        assert changes[5] > changes[1]
    else:
        assert changes == sorted(changes)


@EACH
@pytest.mark.parametrize("shape", [(2, 1, 28, 28), (2, 3, 32, 32), (2, 3, 64, 48), (1, 2, 5, 7)])
def test_any_number_of_channels_and_any_size(name: str, shape: tuple[int, ...]) -> None:
    images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    before = images.clone()
    for severity in SEVERITIES:
        found = draw(images, name, severity)
        assert found.shape == shape and found.dtype == torch.float32
        assert bool(((found >= 0) & (found <= 1)).all())
    assert torch.equal(images, before)


@EACH
def test_the_seed_decides_and_global_generators_stay(name: str, clothes: Tensor) -> None:
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, again, other = (draw(clothes[:5], name, 3, seed) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    drawn = name in ("gaussian_noise", "shot_noise", "impulse_noise", "glass_blur", "motion_blur", "fog")
    assert torch.equal(first, other) == (not drawn and name != "elastic_transform")
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002


def test_known_values() -> None:
    flat = torch.full((1, 1, 64, 64), 0.5)
    assert draw(flat, "contrast", 5).eq(0.5).all(), "no contrast to take away"
    assert draw(flat, "brightness", 5).eq(0.8).all()
    torch.testing.assert_close(draw(flat, "gaussian_noise", 5).std(), torch.tensor(0.10), rtol=0.05, atol=0)
    # Poisson of mean 25 photons out of 50: variance 25 / 50^2
    torch.testing.assert_close(draw(flat, "shot_noise", 5).var(), torch.tensor(0.01), rtol=0.1, atol=0)
    salted = draw(flat, "impulse_noise", 5)
    assert float((salted != 0.5).double().mean()) == pytest.approx(0.07, abs=0.01)
    assert set(salted.unique().tolist()) == {0.0, 0.5, 1.0}
    step = torch.cat([torch.zeros(1, 1, 4, 2), torch.ones(1, 1, 4, 2)], dim=3)
    torch.testing.assert_close(draw(step, "contrast", 5), 0.5 + (step - 0.5) * 0.15)
    for blur in ("defocus_blur", "motion_blur", "zoom_blur", "glass_blur", "pixelate", "elastic_transform"):
        torch.testing.assert_close(draw(flat, blur, 5), flat)


def test_a_blur_keeps_the_mean_and_spreads_a_point() -> None:
    point = torch.zeros(1, 1, 33, 33)
    point[..., 16, 16] = 1
    found = draw(point, "defocus_blur", 5)
    assert float(found.sum()) == pytest.approx(1, abs=1e-5)
    across = torch.arange(33.0) - 16
    second = float((found[0, 0].sum(0) * across.square()).sum())
    # a disk of radius r has r^2 / 4 along each axis, a pixel 1 / 12 more
    assert second == pytest.approx((1.65 * 33 / 32) ** 2 / 4 + 1 / 12, rel=0.05)


def test_what_is_refused() -> None:
    for name, severity in (("rain", 1), ("fog", 6), ("fog", -1)):
        with pytest.raises(ValueError, match=r"is not allowed; allowed: gaussian_noise, .*; 0 to 5"):
            corrupted(torch.zeros(1, 1, 4, 4), name, severity, torch.Generator())
