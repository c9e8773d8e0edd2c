"""VGG with batch norm for small images."""

from typing import ClassVar

from torch import nn

from benchmark.models.classifier import Architecture, Classifier, GlobalPool, InputInfo
from benchmark.models.small_vgg import conv_block

Blocks = tuple[tuple[int, int], ...]
"""(channels, convolutions) of each block."""


class _VGG(Architecture):
    BLOCKS: ClassVar[Blocks]

    def network(self, info: InputInfo) -> Classifier:
        layers: list[nn.Module] = []
        channels, size = info.channels, min(info.height, info.width)
        for index, (width, depth) in enumerate(self.BLOCKS):
            for _ in range(depth):
                layers += conv_block(channels, width)
                channels = width
            if size >= 2 and index < len(self.BLOCKS) - 1:
                layers.append(nn.MaxPool2d(2))
                size //= 2
        return Classifier(info, nn.Sequential(*layers, GlobalPool()), nn.Linear(channels, info.num_classes))


class VGG16(_VGG):
    """13 convolutions and one linear layer (configuration D), pooled instead of 4096-wide layers.

    A max-pool is left out where the map is already 1 x 1, so images from 16 x 16 up fit.
    """

    SOURCE = "Simonyan and Zisserman 2015, configuration D, with batch norm"
    BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


class VGG11(_VGG):
    """8 convolutions and one linear layer (configuration A), pooled instead of 4096-wide layers."""

    SOURCE = "Simonyan and Zisserman 2015, configuration A, with batch norm"
    BLOCKS = ((64, 1), (128, 1), (256, 2), (512, 2), (512, 2))
