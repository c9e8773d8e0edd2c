"""Each sign of masking on a network that was built to show it, and on honest networks, which show none."""

import functools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from benchmark.evasion.gradient_masking import PROBES, masking_reasons
from benchmark.models.classifier import InputInfo
from benchmark.models.small_resnet import SmallResNet
from benchmark.models.small_vgg import SmallVGG
from benchmark.models.softmax_regression import SoftmaxRegression
from benchmark.regimes.standard import Standard
from benchmark.stages.probe import probed

SHAPE = (1, 12, 12)
IMAGES = torch.rand(64, *SHAPE, generator=torch.Generator().manual_seed(1))


class Linear(nn.Module):
    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(gain * torch.randn(3, 144, generator=torch.Generator().manual_seed(2)))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight.T


class Wrapped(nn.Module):
    """A linear network with something before and after it."""

    def __init__(
        self, before: Callable[[Tensor], Tensor] = lambda x: x, after: Callable[[Tensor], Tensor] = lambda z: z
    ) -> None:
        super().__init__()
        self.inner, self.before, self.after = Linear(), before, after

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.inner(self.before(x)))


class Noisy(nn.Module):
    """Dropout that stays on in eval mode, or noise on the image."""

    def __init__(self, std: float = 0.1) -> None:
        super().__init__()
        self.inner, self.std = Linear(), std

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.inner(x + self.std * torch.randn_like(x))
        return found


@functools.cache
def fitted(architecture: type) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    network = architecture(**({} if architecture is SoftmaxRegression else {"width": 4})).build(
        InputInfo(*SHAPE, 4, (0.5,), (0.25,))
    )
    network.initialise(generator)
    Standard(epochs=1, batch_size=32).fit(network, (IMAGES * 255).byte(), torch.arange(64) % 4, generator)
    found: nn.Module = network.eval()
    return found


MASKING: dict[str, tuple[Callable[[], nn.Module], set[str]]] = {
    "noise": (Noisy, {"randomised_outputs"}),
    "a softmax at the end": (lambda: Wrapped(after=lambda z: z.softmax(1)), {"probability_outputs"}),
    "a softmax in halves": (lambda: Wrapped(after=lambda z: z.softmax(1).half()), {"probability_outputs"}),
    "few grey levels": (lambda: Wrapped(before=lambda x: (4 * x).round() / 4), {"zero_gradients"}),
    "no gradient at all": (lambda: Wrapped(before=lambda x: x.detach()), {"zero_gradients"}),
    "rounded logits": (lambda: Wrapped(after=lambda z: z.round()), {"zero_gradients"}),
    "probabilities that are 0 and 1": (
        lambda: Wrapped(after=lambda z: (1e4 * z).softmax(1)), {"probability_outputs", "zero_gradients"},
    ),
}  # fmt: skip
HONEST: dict[str, Callable[[], nn.Module]] = {
    "softmax regression": lambda: fitted(SoftmaxRegression),
    "ResNet": lambda: fitted(SmallResNet),
    "VGG": lambda: fitted(SmallVGG),
    "linear": Linear,
    # Its cross-entropy's gradient is exactly 0 in float32 at nearly all images.
    "confident": lambda: Linear(gain=1e4),
    "unsure": lambda: Linear(gain=1e-6),
    "logarithms of probabilities": lambda: Wrapped(after=lambda z: z.log_softmax(1)),
    "logits above 0": lambda: Wrapped(after=lambda z: z.exp()),
}


def reasons(model: nn.Module) -> list[str]:
    with torch.random.fork_rng():  # the noise of a network is drawn from the global state
        torch.manual_seed(0)
        found = probed(model, IMAGES)
    return masking_reasons([], probes={name: (int(images.sum()), len(images)) for name, images in found.items()})


@pytest.mark.parametrize("case", MASKING)
def test_a_network_that_masks_is_suspected_for_what_it_does(case: str) -> None:
    build, signs = MASKING[case]
    said = reasons(build().eval())
    assert len(said) == len(signs) and all(any(s.startswith(PROBES[sign]) for s in said) for sign in signs)
    assert all(s.endswith("of 64 images") for s in said)


@pytest.mark.parametrize("case", HONEST)
def test_an_honest_network_is_not_suspected(case: str) -> None:
    assert reasons(HONEST[case]().eval()) == []


def test_the_confident_network_would_deceive_the_gradient_of_a_cross_entropy() -> None:
    x = IMAGES.clone().requires_grad_(True)
    logits = Linear(gain=1e4)(x)
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(logits, logits.argmax(1)), x)
    assert int((gradient == 0).flatten(1).all(1).sum()) > 32


def test_a_few_images_without_a_gradient_are_no_sign() -> None:
    """2 of 400 are under 1%; 10 are not. Where nothing was probed, nothing is said."""
    assert masking_reasons([], probes={"zero_gradients": (2, 400)}) == []
    assert masking_reasons([], probes={"zero_gradients": (10, 400)}) == [
        "gradients are 0 in every pixel, at 10 of 400 images"
    ]
    assert masking_reasons([], probes=dict.fromkeys(PROBES, (0, 0))) == []


def test_the_network_is_left_as_it_was() -> None:
    network, x = Linear(), IMAGES.clone()
    probed(network, x)
    assert network.weight.requires_grad and network.weight.grad is None and torch.equal(x, IMAGES)
    with pytest.raises(FloatingPointError, match="gives NaN or infinity for 64 of 64 images"):
        probed(Wrapped(after=lambda z: z / 0), IMAGES)
