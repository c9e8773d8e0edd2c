"""Noise of a known size, and what training on it is good for."""

from typing import Any

import pytest
import torch
from torch import Tensor

from benchmark import registry
from benchmark.models.classifier import Classifier, InputInfo
from benchmark.models.softmax_regression import SoftmaxRegression
from benchmark.planning.labels import label
from benchmark.regimes.gaussian_noise import GaussianNoise
from benchmark.regimes.regime import SupervisedTraining, to_float
from benchmark.regimes.standard import Standard
from benchmark.spec import SpecError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_pixel_gets_fresh_noise_of_that_size() -> None:
    perturb = GaussianNoise(noise_std=0.2).perturbing(1, generator())
    x = torch.full((50, 1, 20, 20), 0.9)
    first, second = (perturb(lambda x: x, x, torch.zeros(50), step) - x for step in (0, 1))
    for noise in (first, second):
        assert noise.mean().item() == pytest.approx(0, abs=0.006)  # 4.2 standard errors
        assert noise.std().item() == pytest.approx(0.2, abs=0.005)
    assert abs(torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1]) < 0.03
    assert (x + first).max() > 1, "not cut to [0, 1]: the noise would no longer be Gaussian"


def test_it_is_better_under_noise_than_standard_training() -> None:
    """One pixel tells the classes apart widely, others narrowly but in sum better: noise drowns those."""
    draw, labels = generator(3), torch.arange(600) % 2
    sign = (2 * labels - 1).float()
    images = 0.5 + 0.01 * sign.view(-1, 1, 1, 1) + 0.01 * torch.randn(600, 1, 8, 8, generator=draw)
    images[:, 0, 0, 0] = 0.5 + 0.4 * sign * ((torch.rand(600, generator=draw) < 0.95).float() * 2 - 1)
    given = (images.clamp(0, 1) * 255).round().byte()

    def accuracy(model: Classifier, x: Tensor) -> float:
        with torch.no_grad():
            return (model(x).argmax(1) == labels).float().mean().item()

    found = []
    shared: dict[str, Any] = {"epochs": 10, "batch_size": 50, "lr": 0.05}
    methods: list[SupervisedTraining] = [Standard(**shared), GaussianNoise(noise_std=0.3, **shared)]
    for method in methods:
        model = SoftmaxRegression().build(InputInfo(1, 8, 8, 2, (0.5,), (0.25,)))
        model.initialise(generator())
        method.fit(model, given, labels, generator(1))
        x = to_float(given)
        found.append((accuracy(model, x), accuracy(model, x + 0.3 * torch.randn(x.shape, generator=generator(9)))))
    (_, plain), (_, noisy) = found
    assert noisy > plain + 0.05, found


def test_its_settings() -> None:
    method: Any = registry.parse("regime", {"method": "gaussian_noise"})
    assert label("regime", method) == "gaussian_noise-0.25" and method.adversary is None
    assert method.passes_per_image == method.epochs
    with pytest.raises(SpecError, match="noise_std"):
        registry.parse("regime", {"method": "gaussian_noise", "noise_std": 0})
