"""Winograd's convolution against the direct one in float64, and where it may stand in for it."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark.evasion import winograd
from benchmark.evasion.attack import frozen, input_gradient
from benchmark.evasion.winograd import convolved, fast_if_wide, fewer_products, is_wide, transformed_kernel
from benchmark.models.classifier import InputInfo
from benchmark.models.small_resnet import SmallResNet


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def largest_error(found: Tensor, exact: Tensor) -> float:
    return float((found.double() - exact).abs().max() / exact.abs().max())


@pytest.mark.parametrize(("inputs", "outputs", "height", "width"), [(5, 3, 4, 4), (2, 7, 8, 12), (130, 128, 4, 8)])
def test_it_is_the_convolution(inputs: int, outputs: int, height: int, width: int) -> None:
    x, weight = torch.randn(3, inputs, height, width, generator=generator()), torch.randn(
        outputs, inputs, 3, 3, generator=generator(1))  # fmt: skip
    found = convolved(x, transformed_kernel(weight))
    assert largest_error(found, functional.conv2d(x.double(), weight.double(), padding=1)) < 3e-5
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_parts_of_a_batch_are_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    x, kernel = (
        torch.randn(7, 3, 8, 4, generator=generator()),
        transformed_kernel(torch.randn(2, 3, 3, 3, generator=generator(1))),
    )
    whole = convolved(x, kernel)
    monkeypatch.setattr(winograd, "_AT_ONCE", 36 * 2 * 3 * 2)  # two images
    torch.testing.assert_close(convolved(x, kernel), whole)


def test_one_pixel_by_hand() -> None:
    """A single 1 in the input puts the turned kernel around itself."""
    weight, x = torch.arange(1.0, 10.0).view(1, 1, 3, 3), torch.zeros(1, 1, 8, 8)
    x[0, 0, 3, 4] = 1
    expected = torch.zeros(8, 8)
    expected[2:5, 3:6] = torch.tensor([[9.0, 8, 7], [6, 5, 4], [3, 2, 1]])
    torch.testing.assert_close(convolved(x, transformed_kernel(weight))[0, 0], expected, rtol=0, atol=1e-4)


class Wide(nn.Module):
    """A folded norm, a residual sum, and layers that Winograd's way may not touch."""

    def __init__(self, **kind: object) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 128, 3, padding=1)
        self.inner = nn.Sequential(
            nn.Conv2d(128, 128, 3, padding=1, bias=False, **kind), nn.BatchNorm2d(128), nn.ReLU()
        )  # type: ignore[arg-type]
        self.head = nn.Linear(128, 3)
        for i, weight in enumerate(self.parameters()):
            nn.init.normal_(weight, std=0.05, generator=generator(i))
        self.inner[1].running_var.uniform_(0.5, 2, generator=generator(9))  # type: ignore[union-attr, operator]

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head((self.inner(x) + x).mean((2, 3)))


@pytest.mark.parametrize("size", [8, 6])
def test_gradients_and_logits_are_those_of_the_network(size: int) -> None:
    """At size 6, which is no multiple of 4, by the layer itself."""
    model, x, y = Wide().eval(), torch.rand(4, 1, size, size, generator=generator()), torch.tensor([0, 1, 2, 0])
    exact = input_gradient(Wide().eval().double(), x.double(), y)
    before = list(model.inner)
    with frozen(model), fast_if_wide(model):
        assert model.inner[0] is not before[0] and isinstance(model.inner[1], nn.Identity)
        found = input_gradient(model, x, y)
    assert list(model.inner) == before and model.inner[0].weight.requires_grad
    for one, other in zip(found, exact, strict=True):
        assert largest_error(one, other) < 1e-4


@pytest.mark.parametrize(
    "kind",
    [
        {"stride": 2}, {"padding": 2}, {"dilation": 2, "padding": 2}, {"groups": 2}, {"padding_mode": "reflect"},
        {"kernel_size": 5, "padding": 2}, {"in_channels": 64}, {"dtype": torch.float64},
    ],
)  # fmt: skip
def test_other_convolutions_stay_as_they_are(kind: dict[str, object]) -> None:
    plain: dict[str, object] = {"in_channels": 128, "out_channels": 128, "kernel_size": 3, "padding": 1}
    assert is_wide(nn.Conv2d(**plain)) and not is_wide(nn.Conv2d(**plain | kind))  # type: ignore[arg-type]


def test_neither_are_those_with_hooks_or_of_another_class() -> None:
    class Own(nn.Conv2d):
        """Computes what it likes."""

    hooked = nn.Conv2d(128, 128, 3, padding=1)
    hooked.register_forward_hook(lambda layer, given, found: found + 1)
    assert not is_wide(hooked) and not is_wide(Own(128, 128, 3, padding=1))


def test_a_network_without_them_is_not_touched() -> None:
    model = SmallResNet(width=4).build(InputInfo(1, 8, 8, 2, (0.5,), (0.25,))).eval()
    layers = list(model.modules())
    with fast_if_wide(model):
        assert [a is b for a, b in zip(layers, model.modules(), strict=True)].count(False) == 0


def test_an_error_leaves_the_network_as_it_was() -> None:
    model = Wide()
    before = list(model.inner)
    with pytest.raises(RuntimeError), fewer_products(model):
        raise RuntimeError
    assert list(model.inner) == before
