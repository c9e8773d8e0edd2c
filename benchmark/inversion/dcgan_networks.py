"""The two networks of a class-conditional DCGAN, for images of any size."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark.inversion.prior import Sampler

_SMALLEST = 7
"""Sides are halved until none is larger: 28 -> 14 -> 7, 32 -> 16 -> 8 -> 4."""
_WIDEST = 8
"""Channels double at each halving, up to this many times the width."""


def sides(height: int, width: int) -> list[tuple[int, int]]:
    """(H, W) of every level, largest first, each half the one before, rounded up."""
    levels = [(height, width)]
    while max(levels[-1]) > _SMALLEST:
        levels.append(((levels[-1][0] + 1) // 2, (levels[-1][1] + 1) // 2))
    return levels


class ClassNorm(nn.Module):
    """Batch norm with a gain and a bias for each class (Dumoulin et al. 2017)."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gain, self.bias = nn.Embedding(num_classes, channels), nn.Embedding(num_classes, channels)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        gain, bias = self.gain(labels)[:, :, None, None], self.bias(labels)[:, :, None, None]
        return cast(Tensor, self.norm(x) * (1 + gain) + bias)


class Discriminator(nn.Module):
    """Strided 4x4 convolutions, a linear layer, then a score of its own and one by class (Miyato and Koyama 2018).

    The linear layer reads every place: with a mean over places instead, the networks learned no class.
    """

    def __init__(self, shape: tuple[int, int, int], num_classes: int, width: int) -> None:
        super().__init__()
        channels = [shape[0], *_widths(shape, width)]
        self.layers = nn.ModuleList(
            nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in zip(channels, channels[1:], strict=False)
        )
        height, side = sides(*shape[1:])[-1]
        features = 4 * width
        self.mix = nn.Linear(channels[-1] * height * side, features)
        self.score = nn.Linear(features, 1)
        self.of_class = nn.Embedding(num_classes, features)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """(N, C, H, W), (N,) -> (N,) scores."""
        return self.judge(self.features(images), labels)

    def judge(self, features: Tensor, labels: Tensor) -> Tensor:
        """(N, D), (N,) -> (N,)."""
        return cast(Tensor, self.score(features)[:, 0] + (features * self.of_class(labels)).sum(1))

    def features(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, D)."""
        x = images * 2 - 1
        for layer in self.layers:
            # An odd side gets one more row or column, so that halves are rounded up as in the generator.
            x = functional.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2))
            x = functional.leaky_relu(layer(x), 0.2)
        return functional.leaky_relu(self.mix(x.flatten(1)), 0.2)


class Generator(Sampler):
    """A linear layer, then transposed 4x4 convolutions of stride 2, each with a class-conditional batch norm."""

    def __init__(self, shape: tuple[int, int, int], num_classes: int, width: int, latent: int) -> None:
        super().__init__()
        self.latent, self.sides = latent, sides(*shape[1:])[::-1]
        widths = _widths(shape, width)[::-1]
        size = widths[0] * self.sides[0][0] * self.sides[0][1]
        self.start, self.of_class = nn.Linear(latent, size), nn.Embedding(num_classes, size)
        self.norms = nn.ModuleList(ClassNorm(channels, num_classes) for channels in widths)
        self.layers = nn.ModuleList(
            nn.ConvTranspose2d(a, b, 4, stride=2, padding=1)
            for a, b in zip(widths, [*widths[1:], shape[0]], strict=True)
        )
        self.discriminator = Discriminator(shape, num_classes, width)

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        height, width = self.sides[0]
        x = (self.start(latents) + self.of_class(labels)).view(len(latents), -1, height, width)
        x = x.contiguous(memory_format=torch.channels_last)
        for norm, layer, (height, width) in zip(self.norms, self.layers, self.sides[1:], strict=True):
            # Twice an odd side's half, rounded up, is one too many.
            x = layer(functional.leaky_relu(norm(x, labels), 0.2))[:, :, :height, :width]
        return torch.sigmoid(x)

    def realism(self, images: Tensor, labels: Tensor) -> Tensor:
        return cast(Tensor, self.discriminator(images, labels))


def _widths(shape: tuple[int, int, int], width: int) -> list[int]:
    """Channels of the levels below the image's, largest side first."""
    return [width * min(2**level, _WIDEST) for level in range(len(sides(*shape[1:])) - 1)]


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Weights N(0, 0.02) as Radford et al. 2016, of a linear layer by its fan-in; classes begin close to each other."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, std=0.02, generator=generator)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5, generator=generator)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.1, generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


def operations(shape: tuple[int, int, int], width: int, latent: int) -> tuple[float, float]:
    """Of one image's forward pass through the generator and the discriminator, two a multiplication."""
    levels, channels = sides(*shape[1:]), [shape[0], *_widths(shape, width)]
    convolutions = 0.0
    for (height, side), a, b in zip(levels[1:], channels, channels[1:], strict=False):
        convolutions += 2.0 * 16 * a * b * height * side
    size = channels[-1] * levels[-1][0] * levels[-1][1]
    return convolutions + 2.0 * latent * size, convolutions + 2.0 * size * 4 * width
