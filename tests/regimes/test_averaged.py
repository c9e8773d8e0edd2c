"""The running mean of weights by hand."""

import pytest
import torch

from benchmark.models.classifier import InputInfo
from benchmark.models.small_resnet import SmallResNet
from benchmark.models.softmax_regression import SoftmaxRegression
from benchmark.regimes.averaged import AveragedWeights
from benchmark.regimes.standard import Standard


def test_weights_count_by_their_age_and_fresh_ones_not_at_all() -> None:
    """Decay 0.5, weights 1, 2, 4 after three steps: (4 + 2 / 2 + 1 / 4) / (1 + 1 / 2 + 1 / 4) = 3."""
    model = SoftmaxRegression().build(InputInfo(1, 2, 2, 2, (0.0,), (1.0,)))
    torch.nn.init.constant_(model.head.weight, 1000.0)
    mean = AveragedWeights(model, 0.5)
    for step, (value, expected) in enumerate([(1.0, 1.0), (2.0, 5 / 3), (4.0, 3.0)]):
        torch.nn.init.constant_(model.head.weight, value)
        mean.take_in(step)
        assert mean.model.head.weight.flatten().tolist() == pytest.approx([expected] * 8, rel=1e-6)
    assert model.head.weight.flatten().tolist() == [4.0] * 8, "the training goes on from its own weights"


def test_statistics_are_averaged_and_counters_are_the_last() -> None:
    model = SmallResNet(width=4).build(InputInfo(1, 8, 8, 2, (0.5,), (0.25,)))
    model.initialise(torch.Generator().manual_seed(0))
    mean, seen = AveragedWeights(model, 0.9), []
    x = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    model.train()
    for step in range(3):
        with torch.no_grad():
            model(x * (step + 1))
        seen.append({name: value.clone() for name, value in model.state_dict().items()})
        mean.take_in(step)
    shares = [0.81 / 2.71, 0.9 / 2.71, 1 / 2.71]
    for name, value in mean.model.state_dict().items():
        if value.is_floating_point():
            expected = sum(share * each[name] for share, each in zip(shares, seen, strict=True))
            torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-6)
        else:
            assert int(value) == int(seen[-1][name]) == 3


def test_a_training_gives_the_mean_of_its_weights() -> None:
    """Against weights that were looked at after every step of the same training without a mean."""
    images = torch.randint(0, 256, (32, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    found = []
    for average in (0.0, 0.8):
        model = SoftmaxRegression().build(InputInfo(1, 4, 4, 2, (0.5,), (0.25,)))
        model.initialise(torch.Generator().manual_seed(0))
        visited: list[torch.Tensor] = []
        model.register_forward_pre_hook(lambda m, _, kept=visited: kept.append(m.head.weight.detach().clone()))
        method = Standard(epochs=2, batch_size=8, weight_average=average)
        method.fit(model, images, torch.arange(32) % 2, torch.Generator().manual_seed(1))
        found.append((visited, model.head.weight.detach()))
    (visited, last), (_, mean) = found
    steps = [*visited[1:], last]
    ages = [0.8 ** (len(steps) - 1 - i) for i in range(len(steps))]
    expected = sum(a * w for a, w in zip(ages, steps, strict=True)) / sum(ages)
    assert len(steps) == 8 and not torch.equal(mean, last)
    torch.testing.assert_close(mean, expected, rtol=1e-4, atol=1e-6)
