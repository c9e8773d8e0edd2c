import pytest
import torch

from benchmark.evasion.attack import frozen, input_gradient
from benchmark.evasion.norms import NORMS, l2_norm


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
def test_starts_are_uniform_in_the_ball(norm: str) -> None:
    """In 4 dimensions a share r^4 of the ball lies within radius r of the centre."""
    starts = NORMS[norm].random_start(torch.zeros(20_000, 1, 2, 2), 0.5, generator())
    sizes = NORMS[norm].size(starts) / 0.5
    assert sizes.max() <= 1 + 1e-6
    for radius in (0.5, 0.8, 0.95):
        assert (sizes <= radius).float().mean().item() == pytest.approx(radius**4, abs=0.01)
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
    model = torch.nn.Linear(2, 2)
    model.bias.requires_grad_(False)
    with pytest.raises(KeyError), frozen(model):
        assert not model.weight.requires_grad
        raise KeyError
    assert model.weight.requires_grad and not model.bias.requires_grad
