"""Free adversarial training against a plain loop."""

from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark import registry
from benchmark.models.classifier import Classifier, InputInfo
from benchmark.models.small_resnet import SmallResNet
from benchmark.planning.labels import label
from benchmark.regimes.free_at import FreeAdversarialTraining
from benchmark.regimes.regime import Trained, to_float
from benchmark.spec import SpecError

INFO = InputInfo(1, 8, 8, 2, (0.5,), (0.25,))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made() -> Classifier:
    model = SmallResNet(width=4).build(INFO)
    model.initialise(generator())
    return model


def data(num: int = 32) -> tuple[Tensor, Tensor]:
    return torch.randint(0, 256, (num, 1, 8, 8), dtype=torch.uint8, generator=generator(3)), torch.arange(num) % 2


def plain_loop(method: FreeAdversarialTraining, model: Classifier) -> list[Tensor]:
    """Shafahi et al., Algorithm 1, step by step; returns the perturbation after each step."""
    images, labels = data()
    draw, delta, seen = generator(1), torch.zeros(method.batch_size, 1, 8, 8), []
    moments = {weight: torch.zeros_like(weight) for weight in model.parameters()}
    steps, step = method.epochs * len(images) // method.batch_size * method.replays, 0
    model.train()
    for _ in range(method.epochs):
        for picked in torch.randperm(len(images), generator=draw).split(method.batch_size):
            for _ in range(method.replays):
                x = (images[picked].float() / 255 + delta).clamp(0, 1).requires_grad_()
                loss = functional.cross_entropy(model(x), labels[picked])
                model.zero_grad()
                loss.backward()
                with torch.no_grad():  # Nesterov's momentum
                    for weight, moment in moments.items():
                        assert weight.grad is not None
                        gradient = weight.grad + method.weight_decay * weight
                        moment.mul_(method.momentum).add_(gradient)
                        weight -= method.rate(step, steps) * (gradient + method.momentum * moment)
                assert x.grad is not None
                length = x.grad.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
                way = x.grad.sign() if method.norm == "linf" else x.grad / length
                delta = delta + method.epsilon * way
                if method.norm == "linf":
                    delta = delta.clamp(-method.epsilon, method.epsilon)
                else:
                    delta = delta * (method.epsilon / delta.flatten(1).norm(dim=1)).clamp(max=1).view(-1, 1, 1, 1)
                seen.append(delta)
                step += 1
    return seen


@pytest.mark.parametrize(("norm", "epsilon"), [("linf", 0.03), ("l2", 0.3)])
def test_it_is_the_plain_loop(norm: Literal["linf", "l2"], epsilon: float) -> None:
    method = FreeAdversarialTraining(norm=norm, epsilon=epsilon, replays=3, epochs=2, batch_size=16, lr=0.02)
    model, plain = made(), made()
    method.fit(model, *data(), generator(1))
    perturbations = plain_loop(method, plain)
    for (name, weight), other in zip(model.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(weight, other, rtol=1e-3, atol=1e-5, msg=name)
    assert len(perturbations) == 2 * 2 * 3 and not torch.equal(perturbations[2], torch.zeros(16, 1, 8, 8))


def test_it_costs_one_pass_a_replay() -> None:
    forward, backward = 0, 0

    def count(_: nn.Module, __: object, logits: Tensor) -> None:
        nonlocal forward
        forward += len(logits)
        logits.register_hook(count_backward)

    def count_backward(gradient: Tensor) -> None:
        nonlocal backward
        backward += len(gradient)

    method = FreeAdversarialTraining(epsilon=0.1, replays=3, epochs=2, batch_size=16)
    model = made()
    model.register_forward_hook(count)
    losses = method.fit(model, *data(), generator())
    assert forward == backward == method.passes_per_image * 32 and len(losses) == 2


def test_it_moves_images_so_that_the_loss_grows() -> None:
    """One replay is standard training in the first batch; later ones see what earlier ones found."""
    images, labels = data(16)
    method = FreeAdversarialTraining(epsilon=0.05, replays=1, epochs=1, batch_size=16, lr=1e-6)
    model = made()
    carried = method.carried(to_float(images))
    model.train()
    losses = [method.gradients(Trained(model, model, carried), to_float(images), images, labels) for _ in range(4)]
    assert losses[1] > losses[0] and losses[3] > losses[0]
    assert carried.delta.abs().max() <= 0.05 + 1e-7


def test_its_settings() -> None:
    method: Any = registry.parse("regime", {"method": "free_at", "epsilon": "8/255"})
    assert method.replays == 4 and label("regime", method) == "free_at-linf-0.03137"
    assert method.adversary == ("linf", 8 / 255)
    for key, value in (("replays", 0), ("epsilon", 8), ("steps", 3), ("weight_perturbation", 0.01)):
        with pytest.raises(SpecError, match=key):
            registry.parse("regime", {"method": "free_at", "epsilon": 0.1, key: value})
