"""Clipping and noise by hand, the guarantee by Opacus itself, and what becomes of a network with batch norm."""

import copy
import math
from typing import Any

import pytest
import torch
from opacus.accountants import RDPAccountant
from opacus.validators import ModuleValidator
from torch import Tensor, nn
from torch.nn import functional

from benchmark import registry
from benchmark.models.adapted import Adapted
from benchmark.models.classifier import Architecture, Classifier, InputInfo
from benchmark.models.group_norm import GroupNormed, num_batch_norms
from benchmark.models.small_resnet import SmallResNet
from benchmark.models.small_vgg import SmallVGG
from benchmark.models.softmax_regression import SoftmaxRegression
from benchmark.regimes import dp_sgd
from benchmark.regimes.dp_sgd import DPSGD
from benchmark.regimes.regime import to_float
from benchmark.spec import SpecError
from benchmark.trials.training_progress import Progress

INFO = InputInfo(1, 16, 16, 2, (0.5,), (0.25,))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made(architecture: Architecture, info: InputInfo = INFO) -> Classifier:
    model = architecture.build(info)
    model.initialise(generator())
    return model


def two_patterns(num: int) -> tuple[Tensor, Tensor]:
    """Bright left or bright right half, with noise far below the difference."""
    labels = torch.arange(num) % 2
    images = 0.3 + 0.1 * torch.rand(num, 1, 16, 16, generator=generator(5))
    images[labels == 0, :, :, :8] += 0.3
    images[labels == 1, :, :, 8:] += 0.3
    return (images * 255).byte(), labels


def clipped_sum(model: Classifier, x: Tensor, y: Tensor, most: float) -> dict[str, Tensor]:
    """Image by image, by plain autograd."""
    total = {name: torch.zeros_like(weight) for name, weight in model.named_parameters()}
    for i in range(len(x)):
        loss = functional.cross_entropy(model(x[i : i + 1]), y[i : i + 1])
        found = torch.autograd.grad(loss, list(model.parameters()))
        norm = math.sqrt(sum(float(part.square().sum()) for part in found))
        for name, part in zip(total, found, strict=True):
            total[name] += part * min(1.0, most / norm)
    return total


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "most"),
    [
        (SoftmaxRegression(), 0.5),
        (SoftmaxRegression(), 1e6),
        (GroupNormed(of=SmallResNet(width=4)), 0.3),
        (GroupNormed(of=SmallVGG(width=4)), 0.3),
    ],
)
def test_a_step_without_noise_is_the_mean_of_clipped_gradients(architecture: Architecture, most: float) -> None:
    """All images in one batch: W - lr * sum of clipped gradients / batch size."""
    images, labels = two_patterns(12)
    model = made(architecture)
    model = model.to(memory_format=torch.channels_last)  # as the stage trains it
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    expected = clipped_sum(copy.deepcopy(model), to_float(images), labels, most)
    settings: dict[str, Any] = dict(epochs=1, batch_size=12, lr=0.1, noise_multiplier=1e-9 / most, max_grad_norm=most)
    DPSGD(**settings).fit(model, images, labels, generator())
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight, before[name] - 0.1 * expected[name] / 12, rtol=1e-4, atol=2e-6)
        assert not hasattr(weight, "grad_sample")
    if most == 0.5:
        full = clipped_sum(made(architecture), to_float(images), labels, 1e6)
        assert sum(float(part.square().sum()) for part in full.values()) > 1.1 * (12 * most) ** 2, "it was clipped"


def test_an_odd_image_is_pooled_as_the_stem_pools_it() -> None:
    info = InputInfo(1, 17, 19, 2, (0.5,), (0.25,))
    x, y = torch.rand(3, 1, 17, 19, generator=generator()), torch.tensor([0, 1, 1])
    model = made(GroupNormed(of=SmallResNet(width=2)), info)
    stem = next(layer for layer in model.modules() if type(layer).__name__ == "PooledStem")
    with dp_sgd._gradients_by_image(model):
        functional.cross_entropy(model(x), y, reduction="sum").backward()
        found = stem.weight.grad_sample  # type: ignore[union-attr]
    for i in range(3):
        loss = functional.cross_entropy(model(x[i : i + 1]), y[i : i + 1])
        (expected,) = torch.autograd.grad(loss, [stem.weight])  # type: ignore[list-item]
        torch.testing.assert_close(found[i], expected, rtol=1e-4, atol=1e-6)  # type: ignore[index]


def test_the_noise_has_the_size_that_is_accounted_for() -> None:
    """Gradients far below the noise: steps are Gaussian, of lr * noise * max_grad_norm / batch, images or none."""
    images, labels = two_patterns(8)
    regime = DPSGD(epochs=50, batch_size=1, lr=0.01, momentum=0, noise_multiplier=300, max_grad_norm=0.5)
    model = made(SoftmaxRegression())
    before = model.head.weight.detach().clone()
    regime.fit(model, images, labels, generator())
    steps = 50 * 8
    moved = (model.head.weight.detach() - before) / (0.01 * 300 * 0.5 * math.sqrt(steps))
    assert moved.numel() == 512 and float(moved.std()) == pytest.approx(1, abs=4 / math.sqrt(2 * 512))
    assert abs(float(moved.mean())) < 4 / math.sqrt(512)


def test_each_image_comes_to_a_batch_by_its_own_coin(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def note(model: Any, optimizer: Any, x: Tensor, y: Tensor, generator: Any) -> Tensor:
        sizes.append(len(x))
        return torch.zeros(())

    monkeypatch.setattr(dp_sgd, "_step", note)
    images, labels = two_patterns(100)
    DPSGD(epochs=100, batch_size=10, noise_multiplier=1).fit(made(SoftmaxRegression()), images, labels, generator())
    found = torch.tensor(sizes).double()
    assert len(found) == 1000
    assert float(found.mean()) == pytest.approx(10, abs=4 * math.sqrt(9 / 1000))
    assert float(found.var()) == pytest.approx(9, rel=0.2), "binomial, and not a fixed size"


def test_the_proven_epsilon_is_opacus_s_own() -> None:
    accountant = RDPAccountant()
    for _ in range(3 * 10):
        accountant.step(noise_multiplier=1.1, sample_rate=0.1)
    model = made(GroupNormed(of=SmallResNet(width=2)))
    facts = {row["metric"]: row for row in DPSGD(epochs=3, batch_size=20, noise_multiplier=1.1).facts(model, 200)}
    assert facts["proven_delta"]["value"] == pytest.approx(1 / 2000)
    assert facts["proven_epsilon"]["value"] == pytest.approx(accountant.get_epsilon(delta=1 / 2000), rel=1e-12)
    alone, both = (facts[name]["value"] for name in ("proven_epsilon", "proven_epsilon_substitution"))
    assert alone is not None and both is not None and 1.5 * alone < both < 4 * alone
    assert facts["layers_replaced"]["note"] == "7 batch norms by group norms"


@pytest.mark.slow
def test_a_target_epsilon_is_kept_and_nearly_used() -> None:
    regime = DPSGD(epochs=3, batch_size=20, epsilon=2, delta=1e-4)
    accountant = RDPAccountant()
    accountant.history = [(regime.noise(200), 0.1, 30)]
    assert 1.98 < accountant.get_epsilon(delta=1e-4) <= 2
    with pytest.raises(SpecError, match=r"epsilon: 900 cannot be reached"):
        DPSGD(epochs=3, batch_size=20, epsilon=900).check(200)


@pytest.mark.slow
def test_a_private_training_repeats_bit_for_bit() -> None:
    images, labels = two_patterns(200)
    regime = DPSGD(epochs=4, batch_size=50, lr=0.5, noise_multiplier=0.8)
    state, results = torch.get_rng_state(), []
    for _ in range(2):
        model = made(GroupNormed(of=SmallResNet(width=4)))
        losses = regime.fit(model, images, labels, generator())
        results.append((losses, model.state_dict()))
    assert results[0][0] == results[1][0]
    assert all(torch.equal(value, results[1][1][name]) for name, value in results[0][1].items())
    assert torch.equal(torch.get_rng_state(), state), "no global seed is drawn from"
    assert not any(module.training for module in model.modules())
    relus = [layer for layer in model.modules() if isinstance(layer, nn.ReLU)]
    assert relus and all(layer.inplace for layer in relus), "as its architecture has them"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "noise"), [(SoftmaxRegression(), 0.8), (GroupNormed(of=SmallResNet(width=4)), 0.1)]
)
def test_it_learns_in_spite_of_its_noise(architecture: Architecture, noise: float) -> None:
    """Flat images and striped ones; 200 images bear little noise in a network."""
    images, labels = two_patterns(200)
    images[labels == 1, :, :, ::2] //= 2
    model = made(architecture)
    losses = DPSGD(epochs=6, batch_size=50, lr=0.3, noise_multiplier=noise).fit(model, images, labels, generator())
    with torch.no_grad():
        assert (model(to_float(images)).argmax(1) == labels).float().mean() > 0.95
    assert losses[-1] < losses[0]


class Interrupted(Exception):
    """The machine is gone."""


class Memory:
    """Keeps the state of a training, and stops it when it has kept `last`."""

    def __init__(self, last: int) -> None:
        self.last, self.kept, self.content = last, 0, None

    def progress(self, key: str) -> bytes | None:
        return self.content

    def keep_progress(self, key: str, content: bytes) -> None:
        self.content, self.kept = content, self.kept + 1  # type: ignore[assignment]
        if self.kept == self.last:
            raise Interrupted


@pytest.mark.parametrize("after", [1, 2])
def test_a_training_that_was_cut_off_ends_as_one_that_was_not(after: int) -> None:
    images, labels = two_patterns(24)
    regime = DPSGD(epochs=3, batch_size=8, lr=0.1, noise_multiplier=1)

    def trained(progress: Progress) -> tuple[list[float], dict[str, Tensor]]:
        model = made(GroupNormed(of=SmallResNet(width=2)))
        losses = regime.fit(model, images, labels, generator(), progress)
        return losses, model.state_dict()

    memory = Memory(after)
    with pytest.raises(Interrupted):
        trained(Progress(memory, "k", "here", every_s=0))
    losses, weights = trained(Progress(memory, "k", "here", every_s=0))
    assert memory.kept == 2, "the epochs that were kept are not done again"
    expected, of_one = trained(Progress(None))
    assert losses == expected and all(torch.equal(weights[name], of_one[name]) for name in of_one)


@pytest.mark.slow
def test_batches_of_parts_are_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few images go through at once."""
    images, labels = two_patterns(40)
    weights = []
    for at_once in (2**26, 1):
        monkeypatch.setattr(dp_sgd, "_AT_ONCE", at_once)
        model = made(SoftmaxRegression())
        DPSGD(epochs=2, batch_size=10, noise_multiplier=1).fit(model, images, labels, generator())
        weights.append(model.head.weight.detach())
    torch.testing.assert_close(*weights, rtol=1e-4, atol=1e-6)


def test_an_empty_batch_is_a_step_of_noise() -> None:
    images, labels = two_patterns(2)
    model = made(SoftmaxRegression())
    losses = DPSGD(epochs=8, batch_size=1, noise_multiplier=1).fit(model, images, labels, generator())
    assert len(losses) == 8 and all(math.isfinite(loss) for loss in losses)


def test_batch_norm_is_replaced_as_opacus_does_it() -> None:
    for architecture in (SmallResNet(), SmallVGG(width=6)):
        model = made(architecture)
        advised = ModuleValidator.fix(model.train())
        own = made(GroupNormed(of=architecture)).train()
        norms = [
            [(n, m.num_groups, m.num_channels, m.affine) for n, m in net.named_modules() if type(m) is nn.GroupNorm]
            for net in (advised, own)
        ]
        assert norms[0] == norms[1] and len(norms[0]) == num_batch_norms(model)
        assert advised.state_dict().keys() == own.state_dict().keys()
        assert ModuleValidator.is_valid(own) and not ModuleValidator.is_valid(model)
        trained = own.state_dict()
        again = GroupNormed(of=architecture).build(INFO)
        again.load(trained)
        x = torch.rand(2, 1, 16, 16, generator=generator())
        assert torch.equal(again.eval()(x), own.eval()(x))


def test_a_foreign_network_is_replaced_in_its_fresh_weights_too() -> None:
    class Foreign(Architecture):
        def network(self, info: InputInfo) -> Classifier:
            def make() -> nn.Module:
                return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(784, 2))

            return Adapted(info, make)

    registry.ARCHITECTURE["foreign"] = f"{Foreign.__module__}:{Foreign.__qualname__}"
    try:
        model = made(GroupNormed.model_construct(of=Foreign()))
    finally:
        del registry.ARCHITECTURE["foreign"]
    assert num_batch_norms(model) == 0 and model.num_replaced == 1
    norm = next(layer for layer in model.modules() if isinstance(layer, nn.GroupNorm))
    assert bool((norm.weight == 1).all()) and bool((norm.bias == 0).all())


def test_what_can_be_trained_is_planned() -> None:
    regime = DPSGD(noise_multiplier=1)
    assert regime.trainable(SmallResNet(), INFO) == GroupNormed(of=SmallResNet())
    for kept in (SoftmaxRegression(), GroupNormed(of=SmallResNet())):
        assert regime.trainable(kept, INFO) is kept
    with pytest.raises(SpecError, match=r"has 7 batch norms.*allowed: architecture \{method: group_norm, of: \.\.\.\}"):
        regime.fit(made(SmallResNet(width=2)), *two_patterns(8), generator())


@pytest.mark.parametrize(("settings", "said"), [({}, "neither"), ({"epsilon": 1, "noise_multiplier": 1}, "both")])
def test_either_epsilon_or_noise_is_given(settings: dict[str, float], said: str) -> None:
    with pytest.raises(SpecError, match=f"dp_sgd has {said} of 'epsilon' and 'noise_multiplier'"):
        DPSGD.parse(settings)


@pytest.mark.parametrize(("key", "value"), [("epochs", 0), ("delta", 1), ("max_grad_norm", 0), ("accountant", "x")])
def test_settings_that_make_no_sense_are_refused(key: str, value: object) -> None:
    with pytest.raises(SpecError, match=key):
        DPSGD.parse({"noise_multiplier": 1, key: value})
