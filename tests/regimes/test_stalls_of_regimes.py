"""On a GPU a training waits for the device once an epoch, for its mean loss. See `StandIn`."""

import copy
from collections import Counter

import pytest
import torch
from stand_in_device import DEVICE, StandIn, on_device, values

from benchmark import registry
from benchmark.models.classifier import Classifier, InputInfo
from benchmark.models.group_norm import GroupNormed
from benchmark.models.small_resnet import SmallResNet
from benchmark.regimes.regime import Regime

BALL = {"epsilon": 0.05}
TABLE = [
    ({"method": "standard", "augment": True, "weight_average": 0.9}, 1),
    ({"method": "label_smoothing", "smoothing": 0.1}, 1),
    ({"method": "gaussian_noise"}, 1),
    ({"method": "pgd_at", "steps": 2, **BALL}, 1),
    ({"method": "pgd_at", "steps": 2, "norm": "l2", "weight_perturbation": 0.01, **BALL}, 1),
    ({"method": "trades", "steps": 2, **BALL}, 1),
    ({"method": "mart", "steps": 2, **BALL}, 1),
    ({"method": "free_at", "replays": 2, **BALL}, 1),
    ({"method": "fgsm_rs", **BALL}, 1 + 2 + 13),  # its guard: two accuracies, and PGD-10 on a batch
]
"""Settings, and stalls an epoch of three batches."""
INFO = InputInfo(1, 12, 12, 4, (0.5,), (0.25,))


def network(architecture: SmallResNet | GroupNormed) -> Classifier:
    model = architecture.build(INFO)
    model.initialise(torch.Generator().manual_seed(1))
    return model


def counted(settings: dict[str, object], model: Classifier) -> Counter[str]:
    regime = registry.parse("regime", {"batch_size": 10, "epochs": 1, **settings})
    assert isinstance(regime, Regime)
    drawn = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (30, 1, 12, 12), generator=drawn, dtype=torch.uint8)
    labels = torch.arange(30) % 4
    wanted = copy.deepcopy(model)
    history = regime.fit(wanted, images, labels, torch.Generator().manual_seed(2))
    with StandIn() as device:
        moved, x, y = on_device(model), images.to(DEVICE), labels.to(DEVICE)
        device.stalls.clear()
        assert regime.fit(moved, x, y, torch.Generator().manual_seed(2)) == history
    both = [(*each.parameters(), *each.buffers()) for each in (moved, wanted)]
    for own, other in zip(*both, strict=True):
        assert torch.equal(values(own), other), "on the device it gives what it gives on the CPU"
    return device.stalls


@pytest.mark.parametrize(("settings", "most"), TABLE)
def test_stalls_of_an_epoch(settings: dict[str, object], most: int) -> None:
    stalls = counted(settings, network(SmallResNet(width=4)))
    assert stalls.total() <= most, stalls


class _Drawing(torch.Generator):
    """The stand-in device has no generator of its own."""

    def __new__(cls, device: object = None) -> "_Drawing":
        return super().__new__(cls)


@pytest.mark.slow
def test_a_private_training_waits_for_its_mean_loss_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "Generator", _Drawing)
    settings = {"method": "dp_sgd", "noise_multiplier": 1.0}
    stalls = counted(settings, network(GroupNormed(of=SmallResNet(width=4))))
    assert stalls.total() <= 1, stalls


def test_every_regime_is_counted() -> None:
    ours = {name for name, path in registry.REGIME.items() if path.startswith("benchmark.")}
    assert {settings["method"] for settings, _ in TABLE} == ours - {"dp_sgd", "memorise", "untrained"}
