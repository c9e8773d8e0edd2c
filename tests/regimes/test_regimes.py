"""Standard and adversarial training on problems whose outcome is known."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark import registry
from benchmark.evasion.norms import NORMS
from benchmark.evasion.pgd import PGD
from benchmark.models.classifier import Architecture, Classifier, InputInfo
from benchmark.models.small_resnet import SmallResNet
from benchmark.models.softmax_regression import SoftmaxRegression
from benchmark.regimes import pgd_at
from benchmark.regimes.augmentation import augmented
from benchmark.regimes.pgd_at import PGDAdversarialTraining
from benchmark.regimes.regime import Regime, SupervisedTraining, to_float
from benchmark.regimes.standard import Standard
from benchmark.regimes.untrained import Untrained

INFO = InputInfo(1, 8, 8, 2, (0.5,), (0.25,))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made(architecture: Architecture, info: InputInfo = INFO) -> Classifier:
    model = architecture.build(info)
    model.initialise(generator())
    return model


def two_patterns(num: int = 240) -> tuple[Tensor, Tensor]:
    """Bright left or bright right half, with noise far below the difference."""
    labels = torch.arange(num) % 2
    images = 0.3 + 0.1 * torch.rand(num, 1, 8, 8, generator=generator(5))
    images[labels == 0, :, :, :4] += 0.3
    images[labels == 1, :, :, 4:] += 0.3
    return (images * 255).byte(), labels


def robust_and_brittle(num: int) -> tuple[Tensor, Tensor]:
    """Tsipras et al. 2019: one feature that is strong but right 90% of the time, 63 that are weak and together sure.

    A weak pixel's class means lie 0.04 apart and its noise is 0.02: their mean tells the classes, but an attacker
    who moves every pixel by 0.06 turns it over. The strong pixel is 0.1 or 0.9.
    """
    draw = generator(num)
    labels = torch.arange(num) % 2
    sign = (2 * labels - 1).float()
    images = 0.5 + 0.02 * sign.view(-1, 1, 1, 1) + 0.02 * torch.randn(num, 1, 8, 8, generator=draw)
    honest = (torch.rand(num, generator=draw) < 0.9).float() * 2 - 1
    images[:, 0, 0, 0] = 0.5 + 0.4 * sign * honest
    return (images * 255).round().byte(), labels


def accuracy(model: Classifier, images: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        return (model(images).argmax(1) == labels).float().mean().item()


@pytest.mark.parametrize("architecture", ["softmax_regression", "small_vgg", "small_resnet"])
def test_standard_training_separates_what_is_separable(architecture: str) -> None:
    small = {} if architecture == "softmax_regression" else {"width": 4}
    chosen = registry.parse("architecture", {"method": architecture, **small})
    assert isinstance(chosen, Architecture)
    model = made(chosen)
    images, labels = two_patterns()
    losses = Standard(epochs=6, batch_size=24, lr=0.05).fit(model, images, labels, generator())
    assert len(losses) == 6 and losses[-1] < 0.1 < losses[0]
    assert accuracy(model, to_float(images), labels) == 1.0
    assert not model.training


def test_adversarial_training_gives_up_brittle_features_for_robustness() -> None:
    images, labels = robust_and_brittle(1200)
    tested, truth = robust_and_brittle(600)
    shared = {"epochs": 10, "batch_size": 50, "lr": 0.05}
    found = {}
    for name, method in {
        "standard": Standard(**shared),  # type: ignore[arg-type]
        "pgd_at": PGDAdversarialTraining(epsilon=0.06, steps=5, **shared),  # type: ignore[arg-type]
    }.items():
        model = made(SoftmaxRegression())
        method.fit(model, images, labels, generator())
        x = to_float(tested)
        attacked = PGD(epsilon=0.06).perturb(model, x, truth, generator()).images
        found[name] = accuracy(model, x, truth), accuracy(model, attacked, truth)
    assert found["standard"][0] > 0.97 and found["standard"][1] < 0.4
    assert found["pgd_at"][1] > 0.8
    assert found["pgd_at"][0] == pytest.approx(0.9, abs=0.05), "no better than the one feature it may trust"


@pytest.mark.parametrize("method", [Standard(epochs=2), PGDAdversarialTraining(epsilon=0.1, steps=2, epochs=2)])
def test_training_is_repeatable_bit_for_bit_and_moves_no_global_state(method: SupervisedTraining) -> None:
    images, labels = two_patterns(96)
    state, given = torch.get_rng_state(), images.clone()
    results = []
    for seed in (0, 0, 1):
        model = made(SmallResNet(width=4))
        losses = method.fit(model, images, labels, generator(seed))
        results.append((losses, model.state_dict()))
    (first, weights), (again, same), (other, _) = results
    assert first == again and first != other
    assert all(torch.equal(weights[k], same[k]) for k in weights)
    assert torch.equal(torch.get_rng_state(), state) and torch.equal(images, given)


@pytest.mark.parametrize("method", [Standard(epochs=3), PGDAdversarialTraining(epsilon=0.1, epochs=3)])
def test_a_loss_that_is_not_finite_is_an_error(method: SupervisedTraining) -> None:
    wild = method.model_copy(update={"lr": 1e20})  # which no suite may set
    with pytest.raises(FloatingPointError, match=r"training loss is (nan|inf) in epoch \d; try a smaller lr"):
        wild.fit(made(SmallResNet(width=4)), *two_patterns(64), generator())


class Spread(Classifier):
    """Divides each image by its own spread, which flat images have none of."""

    def features(self, images: Tensor) -> Tensor:
        return super().features(images / images.std((1, 2, 3), keepdim=True))


def test_a_loss_that_no_lr_would_mend_says_so() -> None:
    images, labels = two_patterns(64)
    model = Spread(INFO, nn.Flatten(), nn.Linear(64, 2))
    model.initialise(generator())
    assert math.isfinite(Standard(lr=0.001, epochs=1).fit(model, images, labels, generator())[0])
    images[[3, 40]] = 0
    said = "with fresh weights too the network gives NaN or infinity for 2 of 64 images"
    with pytest.raises(FloatingPointError, match=f"loss is nan in epoch 1; no lr would help: {said}"):
        Standard(lr=0.001, epochs=1).fit(model, images, labels, generator())
    flat = InputInfo(1, 8, 8, 2, (0.5,), (0.0,))  # a data set without any spread
    with pytest.raises(FloatingPointError, match="no lr would help: .* for 64 of 64 images"):
        Standard(epochs=1).fit(made(SmallResNet(width=4), flat), *two_patterns(64), generator())


def test_a_tiny_epsilon_is_standard_training() -> None:
    """In the first epoch both see the images in one order; the weights then differ by rounding alone."""
    images, labels = two_patterns()
    shared = {"epochs": 1, "batch_size": 60, "lr": 0.05}
    trained = []
    for method in (Standard(**shared), PGDAdversarialTraining(epsilon=1e-7, steps=2, **shared)):  # type: ignore[arg-type]
        model = made(SmallResNet(width=4))
        method.fit(model, images, labels, generator())
        trained.append(torch.cat([p.flatten() for p in model.parameters()]))
    start = torch.cat([p.flatten() for p in made(SmallResNet(width=4)).parameters()])
    assert (trained[0] - start).norm() > 0.1
    torch.testing.assert_close(trained[1], trained[0], rtol=0, atol=1e-3)


class Recorder:
    """Stands in for the attack: notes how it was called, and gives images that are easy to tell."""

    def __init__(self, model: Classifier) -> None:
        self.model, self.calls = model, list[dict[str, Any]]()

    def __call__(self, network: Any, x: Tensor, y: Tensor, *settings: Any) -> Tensor:
        norm, epsilon, steps, step_size, _ = settings
        frozen = not any(p.requires_grad for p in self.model.parameters())
        self.calls.append(dict(x=x, training=self.model.training, frozen=frozen, norm=norm, epsilon=epsilon))
        self.calls[-1] |= dict(steps=steps, step_size=step_size)
        return torch.full_like(x, 0.25)


def recorded(monkeypatch: pytest.MonkeyPatch, method: PGDAdversarialTraining) -> tuple[Recorder, list[Tensor]]:
    """The calls of the attack, and the batches that the network saw in training mode."""
    model = made(SmallResNet(width=4))
    recorder, seen = Recorder(model), list[Tensor]()
    monkeypatch.setattr(pgd_at, "perturb_for_training", recorder)
    model.register_forward_pre_hook(lambda module, given: seen.append(given[0]) if module.training else None)
    method.fit(model, *two_patterns(48), generator())
    assert all(p.requires_grad for p in model.parameters()) and not model.training
    return recorder, seen


def test_each_step_attacks_the_deployed_model_and_trains_on_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    method = PGDAdversarialTraining(norm="l2", epsilon=0.5, steps=4, epochs=3, batch_size=20)
    recorder, seen = recorded(monkeypatch, method)
    assert len(recorder.calls) == len(seen) == 3 * (48 // 20)
    assert all((batch == 0.25).all() for batch in seen), "it must train on adversarial images alone"
    for call in recorder.calls:
        assert call["frozen"] and not call["training"] and len(call["x"]) == 20
        assert (call["norm"], call["epsilon"], call["steps"]) == ("l2", 0.5, 4)
        assert call["step_size"] == pytest.approx(2.5 * 0.5 / 4)
    pixels, _ = two_patterns(48)
    rows = [row.tolist() for call in recorder.calls[:2] for row in call["x"].flatten(1)]
    known = to_float(pixels).flatten(1).tolist()
    assert all(row in known for row in rows) and len({tuple(row) for row in rows}) == 40


def test_epsilon_rises_over_the_warm_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    method = PGDAdversarialTraining(epsilon=0.2, step_size=0.1, epochs=3, batch_size=12, warm_epochs=2)
    recorder, _ = recorded(monkeypatch, method)
    ramp = [min(1.0, i / 8) for i in range(1, 13)]
    assert [call["epsilon"] for call in recorder.calls] == pytest.approx([0.2 * r for r in ramp])
    assert [call["step_size"] for call in recorder.calls] == pytest.approx([0.1 * r for r in ramp])


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_network_is_trained_inside_the_ball(norm: str) -> None:
    """Without a stand-in: the batches seen in training are near members and are not members."""
    model, seen = made(SmallResNet(width=4)), list[Tensor]()
    model.register_forward_pre_hook(lambda module, given: seen.append(given[0]) if module.training else None)
    images, labels = two_patterns(48)
    PGDAdversarialTraining(norm=norm, epsilon=0.1, steps=3, epochs=1, batch_size=24).fit(  # type: ignore[arg-type]
        model, images, labels, generator()
    )
    clean = to_float(images)
    for x in torch.cat(seen):
        sizes = NORMS[norm].size(x[None] - clean)
        assert 0.05 < sizes.min() <= 0.1 + 1e-5
        assert 0 <= x.min() and x.max() <= 1


def test_learning_rates_by_hand() -> None:
    """Eight steps, a quarter of them on the way up."""
    method = Standard(lr=0.5, warmup=0.25)
    expected = [0.25, 0.5, 0.5, 0.5 * 5 / 6, 0.5 * 4 / 6, 0.5 * 3 / 6, 0.5 * 2 / 6, 0.5 * 1 / 6]
    assert [method.rate(step, 8) for step in range(8)] == pytest.approx(expected)
    assert method.rate(8, 8) == 0


def test_one_step_of_training_by_hand() -> None:
    """One batch, one epoch, so the peak rate: W + lr * (onehot - p)^T x / n, doubled less 10% by Nesterov momentum."""
    images, labels = two_patterns(16)
    model = made(SoftmaxRegression())
    before = model.head.weight.detach().clone()
    x = model.features(to_float(images))
    with torch.no_grad():
        gradient = (model(to_float(images)).softmax(1) - torch.eye(2)[labels]).T @ x / 16 + 0.01 * before
    losses = Standard(epochs=1, batch_size=64, lr=0.1, weight_decay=0.01).fit(model, images, labels, generator())
    torch.testing.assert_close(model.head.weight.detach(), before - 0.1 * 1.9 * gradient)
    logits = x @ before.T
    assert losses == pytest.approx([-logits.log_softmax(1)[torch.arange(16), labels].mean().item()], rel=1e-5)


def test_augmentation_gives_each_of_its_fifty_crops_alike() -> None:
    """Every output is one of 25 offsets, flipped or not, of its image with 2 pixels of zeros around it."""
    image = torch.arange(1.0, 13.0).view(1, 1, 3, 4) / 12
    out = augmented(image.expand(4000, 1, 3, 4), generator())
    padded = torch.zeros(7, 8)
    padded[2:5, 2:6] = image[0, 0]
    crops = {(i, j, f): padded[i : i + 3, j : j + 4] for i in range(5) for j in range(5) for f in (False, True)}
    counts = []
    for (i, j, flipped), crop in crops.items():
        expected = crop.flip(1) if flipped else crop
        counts.append(int((out[:, 0] == expected).flatten(1).all(1).sum()))
        if (i, j, flipped) == (2, 2, False):
            assert torch.equal(expected, image[0, 0]) and counts[-1] > 0
    # Offsets of a few crops coincide when they hold zeros alone; none does here.
    assert sum(counts) == 4000
    assert max(abs(count - 80) for count in counts) < 5 * math.sqrt(80)


def test_augmentation_keeps_channels_and_images_together() -> None:
    x = torch.rand(6, 3, 8, 8, generator=generator())
    x[:, 1], x[:, 2] = x[:, 0] / 2, x[:, 0] / 4
    out = augmented(x.to(memory_format=torch.channels_last), generator())
    assert out.shape == x.shape
    torch.testing.assert_close(out[:, 1], out[:, 0] / 2)
    torch.testing.assert_close(out[:, 2], out[:, 0] / 4)
    for n in range(6):
        assert set(out[n, 0].flatten().tolist()) <= {0.0, *x[n, 0].flatten().tolist()}


def test_augmented_training_runs_and_differs() -> None:
    images, labels = two_patterns(48)
    weights = []
    for augment in (False, True):
        model = made(SoftmaxRegression())
        Standard(epochs=1, batch_size=24, augment=augment).fit(model, images, labels, generator())
        weights.append(model.head.weight)
    assert not torch.equal(*weights)


def test_pixels_become_floats() -> None:
    x = to_float(torch.tensor([[[[0, 51], [102, 255]]]], dtype=torch.uint8))
    assert x.dtype == torch.float32 and x.flatten().tolist() == pytest.approx([0, 0.2, 0.4, 1])


def test_the_untrained_control_stays_as_it_was() -> None:
    model = made(SmallResNet(width=4))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    assert Untrained().fit(model, *two_patterns(8), generator()) == []
    assert not model.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_regimes_say_what_they_cost_and_whom_they_face() -> None:
    expected: dict[Regime, tuple[float, tuple[str, float] | None]] = {
        Standard(epochs=3): (3, None),
        PGDAdversarialTraining(epsilon=0.1, steps=4, epochs=3): (15, ("linf", 0.1)),
        PGDAdversarialTraining(epsilon=0.5, norm="l2", steps=1, epochs=2): (4, ("l2", 0.5)),
        Untrained(): (0, None),
    }
    assert {r: (r.passes_per_image, r.adversary) for r in expected} == expected


@pytest.mark.parametrize(("key", "value"), [("epochs", 0), ("lr", -1), ("momentum", 1), ("warmup", 0), ("epsilon", 0)])
def test_settings_that_make_no_sense_are_refused(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=key):
        registry.parse("regime", {"method": "pgd_at", "epsilon": 0.1, key: value})
