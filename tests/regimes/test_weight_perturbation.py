"""Adversarial weight perturbation by hand on a linear model."""

import pytest
import torch
from torch.nn import functional

from benchmark.models.classifier import InputInfo
from benchmark.models.small_resnet import SmallResNet
from benchmark.models.softmax_regression import SoftmaxRegression
from benchmark.regimes.pgd_at import PGDAdversarialTraining
from benchmark.regimes.regime import Trained
from benchmark.regimes.weight_perturbation import worst_weights

INFO = InputInfo(1, 4, 4, 3, (0.0,), (1.0,))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_gradient_is_that_at_the_worst_weights() -> None:
    """Softmax regression: the gradient of the mean cross-entropy is (p - one_hot)^T x / N, here and at w + v."""
    model = SoftmaxRegression().build(INFO)
    model.initialise(generator())
    x, y = torch.rand(5, 1, 4, 4, generator=generator(1)), torch.tensor([0, 1, 2, 0, 1])
    weight, bias = model.head.weight.detach().clone(), model.head.bias.detach().clone()

    def by_hand(w: torch.Tensor) -> torch.Tensor:
        p = (x.flatten(1) @ w.T + bias).softmax(1)
        return (p - functional.one_hot(y, 3)).T @ x.flatten(1) / 5

    first = by_hand(weight)
    moved = weight + 0.3 * weight.norm() * first / first.norm()
    method = PGDAdversarialTraining(epsilon=0.1, weight_perturbation=0.3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    loss = method.gradients(Trained(model, model, None), x, x, y)
    torch.testing.assert_close(model.head.weight.grad, by_hand(moved), rtol=1e-4, atol=1e-6)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert loss > functional.cross_entropy(model(x), y), "the loss is that of worse weights"


def test_size_0_is_none_of_it() -> None:
    found = []
    for method in (PGDAdversarialTraining(epsilon=0.1), PGDAdversarialTraining(epsilon=0.1, weight_perturbation=1e-12)):
        model = SoftmaxRegression().build(INFO)
        model.initialise(generator())
        x, y = torch.rand(5, 1, 4, 4, generator=generator(1)), torch.tensor([0, 1, 2, 0, 1])
        method.gradients(Trained(model, model, None), x, x, y)
        found.append(model.head.weight.grad)
    torch.testing.assert_close(*found)


def test_layers_move_by_their_own_size_and_norms_not_at_all() -> None:
    model = SmallResNet(width=4).build(InputInfo(1, 8, 8, 2, (0.5,), (0.25,)))
    model.initialise(generator())
    model.train()
    x, y = torch.rand(6, 1, 8, 8, generator=generator(1)), torch.arange(6) % 2

    def gradients() -> torch.Tensor:
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        return loss

    before = {name: value.clone() for name, value in model.state_dict().items()}
    with worst_weights(model, 0.01, gradients):
        assert all(weight.grad is None for weight in model.parameters())
        for name, weight in model.named_parameters():
            length = float((weight.detach() - before[name]).norm())
            expected = 0.01 * float(before[name].norm()) if weight.ndim > 1 else 0.0
            assert length == pytest.approx(expected, rel=1e-3), name
        for name, buffer in model.named_buffers():
            assert torch.equal(buffer, before[name]), name
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
