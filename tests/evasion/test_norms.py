import warnings
from collections.abc import Callable

import pytest
import torch
from torch import nn

from benchmark.evasion.attack import folded, frozen, input_gradient
from benchmark.evasion.norms import NORMS, l2_norm
from benchmark.models.classifier import InputInfo
from benchmark.models.small_vgg import SmallVGG


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_sizes_directions_and_projections_by_hand() -> None:
    x = torch.tensor([[[[3.0, -4.0]]], [[[0.0, 0.5]]]])
    linf, l2 = NORMS["linf"], NORMS["l2"]
    assert linf.size(x).tolist() == [4.0, 0.5] and l2.size(x).tolist() == [5.0, 0.5]
    assert linf.direction(x).flatten().tolist() == [1, -1, 0, 1]
    torch.testing.assert_close(l2.direction(x).flatten(), torch.tensor([0.6, -0.8, 0.0, 1.0]))
    assert linf.project(x, 1.0).flatten().tolist() == [1, -1, 0, 0.5]
    torch.testing.assert_close(l2.project(x, 1.0).flatten(), torch.tensor([0.6, -0.8, 0.0, 0.5]))


@pytest.mark.parametrize("scale", [1e-20, 1e-25, 1e-30, 1e-35, 1e15, 1e19])
def test_tiny_and_huge_gradients_keep_their_direction(scale: float) -> None:
    """Squares of 1e-25 underflow in float32; a confident model has such gradients."""
    gradient = torch.randn(4, 1, 6, 6, generator=generator())
    unit = NORMS["l2"].direction(gradient)
    torch.testing.assert_close(l2_norm(unit).flatten(), torch.ones(4))
    torch.testing.assert_close(NORMS["l2"].direction(gradient * scale), unit, rtol=1e-4, atol=1e-5)
    assert torch.equal(NORMS["linf"].direction(gradient * scale), gradient.sign())


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_zero_gradient_moves_nothing(norm: str) -> None:
    zero = torch.zeros(2, 1, 3, 3)
    assert torch.equal(NORMS[norm].direction(zero), zero)
    assert torch.equal(NORMS[norm].project(zero, 0.1), zero)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_starts_have_the_stated_distribution(norm: str) -> None:
    """linf: uniform in the ball, of which a share r^4 lies within radius r in 4 dimensions. l2: uniform radius."""
    starts = NORMS[norm].random_start(torch.zeros(20_000, 1, 2, 2), 0.5, generator())
    sizes = NORMS[norm].size(starts) / 0.5
    assert sizes.max() <= 1 + 1e-6
    for radius in (0.5, 0.8, 0.95):
        assert (sizes <= radius).float().mean().item() == pytest.approx(
            radius**4 if norm == "linf" else radius, abs=0.01
        )
    assert starts.mean((0, 1)).abs().max() < 0.01
    assert torch.equal(starts, NORMS[norm].random_start(torch.zeros(20_000, 1, 2, 2), 0.5, generator()))


def test_the_gradient_is_that_of_each_images_own_loss() -> None:
    """Softmax regression: (p - onehot) W, by hand."""
    weight = torch.randn(3, 4, generator=generator())
    x, y = torch.rand(5, 4, generator=generator()), torch.tensor([0, 1, 2, 0, 1])
    gradient, logits, losses = input_gradient(lambda v: v @ weight.T, x, y)
    p = logits.softmax(1)
    torch.testing.assert_close(gradient, (p - torch.eye(3)[y]) @ weight)
    torch.testing.assert_close(losses, -p[torch.arange(5), y].log())
    assert not gradient.requires_grad and not logits.requires_grad and not losses.requires_grad


def test_frozen_gives_back_what_it_took_even_after_an_error() -> None:
    model = nn.Linear(2, 2)
    model.bias.requires_grad_(False)
    with pytest.raises(KeyError), frozen(model):
        assert not model.weight.requires_grad
        raise KeyError
    assert model.weight.requires_grad and not model.bias.requires_grad


def small_vgg() -> nn.Module:
    """A network whose four batch norms follow convolutions, with statistics of its own."""
    model = SmallVGG(width=4).build(InputInfo(1, 8, 8, 3, (0.5,), (0.3,)))
    model.initialise(generator())
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                for values in (module.weight, module.bias, module.running_mean, module.running_var):
                    values.uniform_(0.5, 2, generator=generator())  # type: ignore[union-attr]
    return model.eval()


def test_folding_leaves_the_function_and_gives_the_norms_back() -> None:
    model, x, y = small_vgg(), torch.rand(4, 1, 8, 8, generator=generator()), torch.tensor([0, 1, 2, 0])
    layers, weights = list(model.modules()), {k: v.clone() for k, v in model.state_dict().items()}
    plain = input_gradient(model, x, y)
    with pytest.raises(KeyError), frozen(model), folded(model):
        assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
        assert not any(p.requires_grad for p in model.parameters())
        for found, expected in zip(input_gradient(model, x, y), plain, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        raise KeyError
    assert list(model.modules()) == layers
    assert all(torch.equal(v, weights[k]) for k, v in model.state_dict().items())
    assert all(torch.equal(a, b) for a, b in zip(input_gradient(model, x, y), plain, strict=True))


def test_norms_that_use_the_batch_are_not_folded() -> None:
    batch_norms = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, track_running_stats=False)).eval()
    training = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    for model in (batch_norms, training):
        layers = list(model)
        with folded(model):
            assert list(model) == layers


class Twice(nn.Sequential):
    """Its layers are not applied one after the other."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self[0](x)
        result: torch.Tensor = first + self[1](first)
        return result


def _weight_normed() -> nn.Module:
    with warnings.catch_warnings(action="ignore"):  # its old form, in which a hook computes the weight
        return nn.utils.weight_norm(nn.Conv2d(1, 2, 3)).requires_grad_(False)


def _hooked_norm() -> nn.Module:
    norm = nn.BatchNorm2d(2)
    norm.register_forward_hook(lambda _, __, result: 2 * result)
    return norm


@pytest.mark.parametrize(
    "make",
    [
        lambda: Twice(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)),
        lambda: nn.Sequential(_weight_normed(), nn.BatchNorm2d(2)),
        lambda: nn.Sequential(nn.Conv2d(1, 2, 3), _hooked_norm()),
    ],
    ids=["own forward", "hook on the weight", "hook on the result"],
)
def test_what_is_more_than_layers_in_a_row_is_not_folded(make: Callable[[], nn.Sequential]) -> None:
    model, x = make().eval(), torch.rand(2, 1, 8, 8)
    model[1].running_var.fill_(0.3)
    with torch.no_grad():
        plain = model(x)
        with folded(model):
            assert torch.equal(model(x), plain)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_dual_is_what_the_steepest_direction_gains_and_each_image_may_have_its_ball(norm: str) -> None:
    geometry, gradient = NORMS[norm], torch.tensor([[[[3.0, -4.0]]], [[[0.0, 2.0]]]])
    gained = (geometry.direction(gradient) * gradient).flatten(1).sum(1)
    assert geometry.dual(gradient).tolist() == pytest.approx(gained.tolist())
    assert geometry.dual(gradient).tolist() == ([7.0, 2.0] if norm == "linf" else [5.0, 2.0])
    radii = torch.tensor([1.0, 3.0]).view(-1, 1, 1, 1)
    each = [geometry.project(image[None], float(radius)) for image, radius in zip(gradient, radii, strict=True)]
    assert torch.equal(geometry.project(gradient, radii), torch.cat(each))
