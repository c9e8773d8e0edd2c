"""The network that the attacks of these tests are run on."""

import functools

import torch
from torch import Tensor, nn

from benchmark.inversion.attack import Inversion, Victim
from benchmark.inversion.dcgan import DCGAN
from benchmark.models.classifier import Classifier, InputInfo
from benchmark.models.small_resnet import SmallResNet
from benchmark.regimes.standard import Standard

SHAPE, NUM_CLASSES, PER_CLASS = (1, 12, 12), 4, 3
PRIOR = DCGAN(width=8, latent=8, steps=100, batch_size=16, lr=1e-3, average=0.9)
INFO = InputInfo(*SHAPE, NUM_CLASSES, (0.5,), (0.25,))


@functools.cache
def pools() -> list[tuple[Tensor, Tensor]]:
    """Members, non-members and auxiliary images (uint8) of four noisy patterns."""
    generator = torch.Generator().manual_seed(0)
    patterns = torch.rand(NUM_CLASSES, *SHAPE, generator=generator)
    labels = torch.arange(120) % NUM_CLASSES
    noise = 0.12 * torch.randn(120, *SHAPE, generator=generator)
    images = ((0.35 * patterns[labels] + 0.3 + noise).clamp(0, 1) * 255).byte()
    return [(images[i : i + 40], labels[i : i + 40]) for i in (0, 40, 80)]


@functools.cache
def trained() -> Classifier:
    network = SmallResNet(width=4).build(INFO)
    network.initialise(torch.Generator().manual_seed(1))
    Standard(epochs=15, batch_size=20).fit(network, *pools()[0], torch.Generator().manual_seed(2))
    return network


@functools.cache
def prior() -> dict[str, Tensor]:
    """What PRIOR learns from the auxiliary images."""
    return PRIOR.fit(*pools()[2], NUM_CLASSES, torch.Generator().manual_seed(3))[0]


def victim(model: nn.Module | None = None) -> Victim:
    return Victim(model or trained(), SHAPE, NUM_CLASSES, torch.device("cpu"), *pools(), prior())


def run(case: Inversion, model: nn.Module | None = None, seed: int = 0) -> Tensor:
    return case.reconstruct(victim(model), torch.Generator().manual_seed(seed))
