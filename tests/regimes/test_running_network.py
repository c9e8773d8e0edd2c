"""When a training compiles its network, where that can save more than it costs; and what it computes in bfloat16.

No GPU is needed to decide.
"""

import shutil
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmark.models.classifier import Architecture, Classifier, InputInfo
from benchmark.models.resnet import ResNet18
from benchmark.models.small_resnet import SmallResNet
from benchmark.regimes import regime, running_network
from benchmark.regimes.pgd_at import PGDAdversarialTraining
from benchmark.regimes.regime import SupervisedTraining
from benchmark.regimes.running_network import worth_compiling
from benchmark.regimes.standard import Standard
from benchmark.regimes.watched import Watched

GREY = InputInfo(1, 28, 28, 10, (0.29,), (0.35,))
COLOUR = InputInfo(3, 32, 32, 10, (0.49, 0.48, 0.45), (0.25, 0.24, 0.26))


class OnGPU:
    """Images that say they are on a GPU; what is taken of them is on the CPU."""

    device = torch.device("cuda")

    def __init__(self, info: InputInfo) -> None:
        self._images = torch.zeros(1, info.channels, info.height, info.width, dtype=torch.uint8)

    def __getitem__(self, which: slice) -> Tensor:
        return self._images[which]


@pytest.fixture
def compiling(monkeypatch: pytest.MonkeyPatch) -> list[Classifier]:
    """The networks that are compiled; there is a C compiler."""
    asked: list[Classifier] = []
    monkeypatch.setattr(torch, "compile", lambda model: asked.append(model) or model)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    return asked


def network(architecture: Architecture, info: InputInfo) -> Classifier:
    model = architecture.build(info)
    model.initialise(torch.Generator().manual_seed(0))
    return model


def called(model: Classifier, info: InputInfo, training: SupervisedTraining, num_images: int) -> Any:
    images: Any = OnGPU(info)
    return running_network.compiled(model, images, training.passes_per_image * num_images, training.batch_size)


def test_small_networks_of_the_quick_suite_stay_as_they_are(compiling: list[Classifier]) -> None:
    model = network(SmallResNet(), GREY)
    for training in (Standard(epochs=8), PGDAdversarialTraining(norm="l2", epsilon=1.5, steps=3, epochs=8)):
        assert called(model, GREY, training, 4000) is model
    assert not compiling


@pytest.mark.parametrize(
    "training",
    [Standard(epochs=40, batch_size=128), PGDAdversarialTraining(epsilon=8 / 255, steps=7, epochs=40, batch_size=128)],
)
def test_a_resnet18_on_cifar10_is_compiled(compiling: list[Classifier], training: SupervisedTraining) -> None:
    model = network(ResNet18(), COLOUR)
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    called(model, COLOUR, training, 18_750)
    assert compiling == [model]
    assert model.training and all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_without_a_gpu_or_a_c_compiler_nothing_is_compiled(
    compiling: list[Classifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = network(SmallResNet(width=4), GREY)
    assert running_network.compiled(model, torch.zeros(1, 1, 28, 28, dtype=torch.uint8), 1e12, 64) is model
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert called(model, GREY, Standard(epochs=100_000), 10**9) is model
    assert not compiling


@pytest.mark.parametrize(
    ("operations", "passes", "batch_size", "pays"),
    [
        (0, 64 * 34_999, 64, False),  # by launches alone: a millisecond a batch, of 35 s
        (0, 64 * 35_001, 64, True),
        (1e9, 972_000, 10**9, False),  # by operations alone: 3e9 (1 / 63e12 - 1 / 258e12) s an image
        (1e9, 973_000, 10**9, True),
    ],
)
def test_it_pays_from_35_seconds_on(operations: float, passes: float, batch_size: int, pays: bool) -> None:
    assert worth_compiling(operations, passes, batch_size) is pays


def test_a_training_says_how_long_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[float, int]] = []

    def asked(model: Classifier, images: Tensor, passes: float, batch_size: int) -> Classifier:
        told.append((passes, batch_size))
        return model

    monkeypatch.setattr(regime, "compiled", asked)
    training = PGDAdversarialTraining(epsilon=0.1, steps=2, epochs=2, batch_size=64)
    images = torch.zeros(20, 1, 28, 28, dtype=torch.uint8)
    training.fit(network(SmallResNet(width=4), GREY), images, torch.arange(20) % 10, torch.Generator().manual_seed(0))
    assert told == [(2 * 3 * 20, 20)], "epochs x (steps + 1) x images, in batches of all there are"


def test_a_training_is_watched_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a GPU trains in bfloat16; here the CPU does."""
    monkeypatch.setattr(regime, "autocast", lambda device: torch.autocast(device.type, torch.bfloat16))
    looked: dict[str, set[bool]] = {"trained": set(), "watched": set()}
    accuracies = Watched.accuracies

    def watched(self: Watched, model: Classifier) -> tuple[float, float | None]:
        with monkeypatch.context() as inside:
            inside.setitem(looked, "trained", looked["watched"])
            return accuracies(self, model)

    monkeypatch.setattr(Watched, "accuracies", watched)
    model = network(SmallResNet(width=4), GREY)
    model.register_forward_hook(lambda *_: looked["trained"].add(torch.is_autocast_enabled("cpu")))
    training = PGDAdversarialTraining.parse({"epsilon": 0.1, "steps": 1, "epochs": 1, "validation": {"steps": 1}})
    images, labels = torch.zeros(20, 1, 28, 28, dtype=torch.uint8), torch.arange(20) % 10
    training.fit(model, images, labels, torch.Generator().manual_seed(0), validation=(images, labels))
    assert looked == {"trained": {True}, "watched": {False}}
