"""What a training costs, counted at the network."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark.models.classifier import InputInfo
from benchmark.models.softmax_regression import SoftmaxRegression
from benchmark.regimes.fgsm_rs import FGSMRandomStart
from benchmark.regimes.gaussian_noise import GaussianNoise
from benchmark.regimes.label_smoothing import LabelSmoothing
from benchmark.regimes.mart import MART
from benchmark.regimes.pgd_at import PGDAdversarialTraining
from benchmark.regimes.trades import TRADES

SHARED: dict[str, Any] = {"epochs": 3, "batch_size": 16}
AWP: dict[str, Any] = {"epsilon": 0.1, "weight_perturbation": 0.01, **SHARED}


@pytest.mark.parametrize(
    "method",
    [
        PGDAdversarialTraining(steps=4, **AWP),
        TRADES(steps=4, **AWP),
        MART(steps=4, **AWP),
        MART(epsilon=0.1, steps=4, **SHARED),
        FGSMRandomStart(epsilon=0.1, **SHARED),
        FGSMRandomStart(**AWP),
        LabelSmoothing(smoothing=0.1, **SHARED),
        GaussianNoise(**SHARED),
    ],
    ids=lambda method: type(method).__name__,
)
def test_it_costs_the_passes_that_it_says(method: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward alone is a third of a pass. Without the guard, which `further_passes` counts."""
    forward = backward = 0

    def count(_: nn.Module, __: object, logits: Tensor) -> None:
        nonlocal forward
        forward += len(logits)
        if logits.requires_grad:
            logits.register_hook(count_backward)

    def count_backward(gradient: Tensor) -> None:
        nonlocal backward
        backward += len(gradient)

    monkeypatch.setattr(FGSMRandomStart, "guard", lambda self, images, labels: None)
    model = SoftmaxRegression().build(InputInfo(1, 4, 4, 2, (0.5,), (0.25,)))
    model.initialise(torch.Generator().manual_seed(0))
    model.register_forward_hook(count)
    images = torch.randint(0, 256, (64, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    method.fit(model, images, torch.arange(64) % 2, torch.Generator().manual_seed(1))
    assert method.passes_per_image * 64 == pytest.approx(backward + (forward - backward) / 3)


def test_a_guard_costs_no_more_than_it_says() -> None:
    forward = 0

    def count(module: nn.Module, given: tuple[Tensor], _: object) -> None:
        nonlocal forward
        forward += len(given[0])

    model = SoftmaxRegression().build(InputInfo(1, 4, 4, 2, (0.5,), (0.25,)))
    model.initialise(torch.Generator().manual_seed(0))
    model.register_forward_hook(count)
    images = torch.randint(0, 256, (64, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    method = FGSMRandomStart(epsilon=0.1, **SHARED)
    method.fit(model, images, torch.arange(64) % 2, torch.Generator().manual_seed(1))
    assert 2 * 3 * 64 < forward <= method.passes_per_image * 64 + 3 * 64 * (10 + 3)
