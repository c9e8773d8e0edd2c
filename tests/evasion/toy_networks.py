"""Networks and images whose attacks are known or cheap."""

import functools

import torch
from torch import Tensor, nn

from benchmark.models.classifier import InputInfo
from benchmark.models.small_resnet import SmallResNet
from benchmark.regimes.standard import Standard

SHAPE = (1, 12, 12)


class Linear(nn.Module):
    """Two classes; logits -z and z with z = gain * (<w, x> + offset): the margin of class 0 is -z, of class 1 is z."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(SHAPE, generator=torch.Generator().manual_seed(3)))
        self.gain = gain

    def score(self, x: Tensor) -> Tensor:
        """(N,): <w, x - 1/2>."""
        return ((x - 0.5) * self.weight).flatten(1).sum(1)

    def forward(self, x: Tensor) -> Tensor:
        z = self.gain * self.score(x)
        return torch.stack([-z, z], 1)

    def dual_norm(self, norm: str) -> float:
        """The most that a perturbation of size 1 moves the score."""
        weight = self.weight.detach()
        return float(weight.abs().sum() if norm == "linf" else weight.norm())

    def steepest(self, norm: str) -> Tensor:
        """The perturbation of size 1 that raises the score most."""
        return self.weight.detach().sign() if norm == "linf" else self.weight.detach() / self.weight.detach().norm()

    def images_at(self, margins: Tensor, labels: Tensor) -> Tensor:
        """Images near 1/2 whose true class leads by these margins (in scores): one a margin."""
        noise = 0.01 * torch.randn(len(margins), *SHAPE, generator=torch.Generator().manual_seed(4))
        x = 0.5 + noise
        wanted = margins * (2 * labels - 1)
        along = self.weight.detach() / self.weight.detach().square().sum()
        return x + (wanted - self.score(x).detach()).view(-1, 1, 1, 1) * along


class Counting(nn.Module):
    """Passes on to a network and keeps the size of every batch."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.sizes = network, list[int]()

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        logits: Tensor = self.network(x)
        return logits


@functools.cache
def trained() -> tuple[nn.Module, Tensor, Tensor]:
    """A small ResNet that tells four noisy patterns apart, with images it has and has not got right."""
    generator = torch.Generator().manual_seed(0)
    patterns = torch.rand(4, *SHAPE, generator=generator)
    labels = torch.arange(256) % 4
    images = (0.35 * patterns[labels] + 0.3 + 0.12 * torch.randn(256, *SHAPE, generator=generator)).clamp(0, 1)
    network = SmallResNet(width=4).build(InputInfo(*SHAPE, 4, (0.5,), (0.25,)))
    network.initialise(generator)
    Standard(epochs=4, batch_size=32).fit(network, (images * 255).byte(), labels, generator)
    tested, wrong = images[:48].clone(), labels[:48].clone()
    wrong[::8] = (wrong[::8] + 1) % 4  # a label that is not the class: misclassified before any attack
    return network, tested, wrong
