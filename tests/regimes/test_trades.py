"""TRADES against gradients by hand, standard training, and what it promises."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark import registry
from benchmark.evasion.norms import NORMS
from benchmark.evasion.pgd import PGD, perturb_for_training
from benchmark.models.classifier import Classifier, InputInfo
from benchmark.models.small_resnet import SmallResNet
from benchmark.models.softmax_regression import SoftmaxRegression
from benchmark.planning.labels import label
from benchmark.regimes.regime import SupervisedTraining, to_float
from benchmark.regimes.standard import Standard
from benchmark.regimes.trades import TRADES, divergence
from benchmark.spec import SpecError

INFO = InputInfo(1, 8, 8, 2, (0.5,), (0.25,))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def data(num: int = 64) -> tuple[Tensor, Tensor]:
    """Two classes told apart by one strong pixel that is right 9 times of 10, and by 63 weak ones that are sure."""
    draw, labels = generator(num), torch.arange(num) % 2
    sign = (2 * labels - 1).float()
    images = 0.5 + 0.02 * sign.view(-1, 1, 1, 1) + 0.02 * torch.randn(num, 1, 8, 8, generator=draw)
    images[:, 0, 0, 0] = 0.5 + 0.4 * sign * ((torch.rand(num, generator=draw) < 0.9).float() * 2 - 1)
    return (images * 255).round().byte(), labels


def trained(method: SupervisedTraining, architecture: Any = None, num: int = 64) -> Classifier:
    model: Classifier = (architecture or SoftmaxRegression()).build(INFO)
    model.initialise(generator())
    method.fit(model, *data(num), generator(1))
    return model


def test_the_divergence_by_hand() -> None:
    """Two classes: p = 0.8 and q = 0.5 have KL(p || q) = 0.8 ln 1.6 + 0.2 ln 0.4; and against torch's own."""
    logits, others = torch.tensor([[math.log(4.0), 0.0]]), torch.zeros(1, 2)
    by_hand = 0.8 * math.log(1.6) + 0.2 * math.log(0.4)
    assert divergence(logits, others).item() == pytest.approx(by_hand, rel=1e-6)
    assert divergence(others, logits).item() == pytest.approx(-0.5 * math.log(0.64), rel=1e-5), "it has a direction"
    a, b = 3 * torch.randn(2, 7, 5, generator=generator())
    expected = functional.kl_div(b.log_softmax(1), a.softmax(1), reduction="none").sum(1)
    torch.testing.assert_close(divergence(a, b), expected)
    assert divergence(100 * a, 100 * b).isfinite().all() and (divergence(a, a) == 0).all()


def test_the_gradient_on_a_linear_model_by_hand() -> None:
    """d KL(p || q) / d logits is q - p for the adversarial and p * (log p - log q - KL) for the clean ones, which the
    authors differentiate too; and by central differences of the whole loss.
    """
    method, network = TRADES(epsilon=0.1, beta=3.0), nn.Linear(4, 3).double()
    with torch.no_grad():
        network.weight.copy_(torch.randn(3, 4, generator=generator()))
    clean, moved = torch.rand(2, 5, 4, generator=generator(1)).double()
    labels = torch.tensor([0, 1, 2, 1, 0])
    (found,) = torch.autograd.grad(method.loss(network, clean, moved, labels), network.weight)
    p, q = (network(x).softmax(1).detach() for x in (clean, moved))
    gap = (p / q).log()
    kl = (p * gap).sum(1, keepdim=True)
    onehot = functional.one_hot(labels, 3)
    by_hand = (p - onehot + 3 * p * (gap - kl)).T @ clean + 3 * (q - p).T @ moved
    torch.testing.assert_close(found, by_hand / 5, rtol=1e-4, atol=1e-6)

    def whole(weight: Tensor) -> float:
        a, b = (x @ weight.T + network.bias.detach() for x in (clean, moved))
        kl = (a.softmax(1) * (a.log_softmax(1) - b.log_softmax(1))).sum(1)
        return float(functional.cross_entropy(a, labels) + 3 * kl.mean())

    weight, step = network.weight.detach(), torch.zeros(3, 4).double()
    step[1, 2] = 1e-5
    numeric = (whole(weight + step) - whole(weight - step)) / 2e-5
    assert found[1, 2].item() == pytest.approx(numeric, rel=1e-3)


@pytest.mark.parametrize(("norm", "epsilon"), [("linf", 0.05), ("l2", 0.5)])
def test_the_attack_ends_at_the_farthest_point_of_a_linear_model(norm: Any, epsilon: float) -> None:
    """Two classes: the divergence depends on the score alone, and grows with its distance to that of the image."""
    weight = torch.randn(64, generator=generator(3))

    def network(x: Tensor) -> Tensor:
        z = (x.flatten(1) - 0.5) @ weight
        return torch.stack([-z, z], 1)

    x = 0.5 + 0.01 * torch.randn(6, 1, 8, 8, generator=generator(4))
    method = TRADES(norm=norm, epsilon=epsilon, steps=40, step_size=epsilon / 10)
    made = method.attack(network, x, torch.zeros(6).long(), epsilon, epsilon / 10, generator())
    assert (NORMS[norm].size(made - x) <= epsilon + 1e-6).all() and 0 <= made.min() and made.max() <= 1
    reach = weight.abs().sum() if norm == "linf" else weight.norm()
    moved = (network(made) - network(x))[:, 1].abs()
    torch.testing.assert_close(moved, (epsilon * reach).expand(6), rtol=1e-3, atol=0)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    again = method.attack(network, x, torch.zeros(6).long(), epsilon, epsilon / 10, generator())
    assert torch.equal(again, made) and torch.equal(torch.get_rng_state(), state)


def test_at_the_image_itself_there_is_no_gradient_to_follow() -> None:
    """Which is why it starts from noise."""
    x, aim = torch.full((2, 1, 8, 8), 0.5), torch.zeros(2, 2)
    still = perturb_for_training(
        lambda v: v.flatten(1)[:, :2] - 0.5, x, torch.zeros(2).long(), "linf", 0.1, 3, 0.05, generator(),
        start=x, losses=lambda logits, _: divergence(aim, logits),
    )  # fmt: skip
    assert torch.equal(still, x)


def test_beta_0_is_standard_training() -> None:
    """Bit for bit in the first epoch; the noise of the attack is drawn from the generator that shuffles the second."""
    shared = {"batch_size": 16, "lr": 0.05}
    for architecture in (SoftmaxRegression(), SmallResNet(width=4)):
        plain = dict(trained(Standard(epochs=1, **shared), architecture).named_parameters())  # type: ignore[arg-type]
        method = TRADES(epsilon=0.05, beta=0, steps=2, epochs=1, **shared)  # type: ignore[arg-type]
        for name, weight in trained(method, architecture).named_parameters():
            assert torch.equal(weight, plain[name]), name
        other = TRADES(epsilon=0.05, steps=2, epochs=1, **shared)  # type: ignore[arg-type]
        assert any(not torch.equal(w, plain[name]) for name, w in trained(other, architecture).named_parameters())


def test_it_is_robust_where_standard_training_is_not() -> None:
    shared: dict[str, Any] = {"epochs": 12, "batch_size": 32, "lr": 0.1, "weight_decay": 0.0}
    images, labels = data(400)
    robust = []
    for method in (Standard(**shared), TRADES(epsilon=0.06, steps=5, **shared)):
        model = trained(method, num=400)
        found = PGD(epsilon=0.06, steps=20).perturb(model, to_float(images), labels, generator(2)).images
        robust.append((model(found).argmax(1) == labels).float().mean().item())
    assert robust[0] < 0.3 and robust[1] > robust[0] + 0.4, robust


def test_it_costs_the_passes_that_it_says() -> None:
    """A step: 1 forward to aim from, `steps` to attack, 2 of the loss. Forward alone is a third of a pass."""
    forward, backward = 0, 0

    def count(_: nn.Module, __: object, logits: Tensor) -> None:
        nonlocal forward
        forward += len(logits)
        if logits.requires_grad:
            logits.register_hook(count_backward)

    def count_backward(gradient: Tensor) -> None:
        nonlocal backward
        backward += len(gradient)

    method = TRADES(epsilon=0.1, steps=4, epochs=3, batch_size=16)
    model = SoftmaxRegression().build(INFO)
    model.initialise(generator())
    model.register_forward_hook(count)
    method.fit(model, *data(64), generator())
    alone = forward - backward
    assert method.passes_per_image == pytest.approx((backward + alone / 3) / 64) and backward == 3 * 6 * 64
    assert method.adversary == ("linf", 0.1)


def test_its_settings() -> None:
    method = registry.parse("regime", {"method": "trades", "epsilon": "8/255"})
    assert isinstance(method, TRADES) and (method.beta, method.steps, method.norm) == (6.0, 10, "linf")
    assert label("regime", method) == "trades-linf-0.03137"
    assert label("regime", TRADES(norm="l2", epsilon=0.5, beta=1)) == "trades-l2-0.5-1"
    for key, value in (("beta", -1), ("beta", 1e7), ("steps", 0), ("epsilon", 8), ("betta", 1)):
        with pytest.raises(SpecError, match=key):
            registry.parse("regime", {"method": "trades", "epsilon": 0.1, key: value})
