"""A pre-activation ResNet for suites on a few CPU cores."""

from typing import ClassVar, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from benchmark.models.classifier import Architecture, Classifier, GlobalPool, InputInfo


class PooledStem(nn.Conv2d):
    """3x3 convolution, then 2x2 average pool; both are linear, so they run as one convolution.

    The pooled kernel is 4x4 with stride 2. It reads the image as four half-size phases, where it is 3x3 with
    stride 1: convolutions into one full-size channel, which the input gradient would need, are slow on CPUs.
    """

    FOLDABLE: ClassVar[bool] = True
    """Linear in its weights: a batch norm after it may be merged into them."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2] % 2 or x.shape[3] % 2:
            return functional.avg_pool2d(super().forward(x), 2)
        pooled = functional.avg_pool2d(functional.pad(self.weight, (1, 1, 1, 1)), 2, stride=1)
        kernel = functional.pixel_unshuffle(functional.pad(pooled, (1, 1, 1, 1)), 2)
        phases = functional.pixel_unshuffle(x, 2).contiguous(memory_format=torch.channels_last)
        return functional.conv2d(phases, kernel, self.bias, padding=1)


def norm_relu(channels: int) -> list[nn.Module]:
    """Batch norm, ReLU."""
    return [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]


class PreActBlock(nn.Module):
    """conv, norm-ReLU, conv on the activation before it, with a 1x1 shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            *norm_relu(outputs),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        )
        self.shortcut = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, active: Tensor) -> Tensor:
        return cast(Tensor, self.inner(active) + self.shortcut(active))


class SmallResNet(Architecture):
    """Stem at full size, then three blocks, each at half the size: widths w, 2w, 4w; features 4w wide.

    Average pools instead of strides: the gradient of a strided convolution has a grid of holes, which an
    inversion shows as a dot pattern.
    """

    SOURCE = "He et al. 2016, Identity Mappings in Deep Residual Networks, cut to three blocks"
    width: int = Field(default=16, ge=1, le=4_096)

    def network(self, info: InputInfo) -> Classifier:
        w = self.width
        body = nn.Sequential(
            PooledStem(info.channels, w),
            *norm_relu(w),
            PreActBlock(w, w),
            nn.AvgPool2d(2),
            *norm_relu(w),
            PreActBlock(w, 2 * w),
            nn.AvgPool2d(2),
            *norm_relu(2 * w),
            PreActBlock(2 * w, 4 * w),
            *norm_relu(4 * w),
            GlobalPool(),
        )
        return Classifier(info, body, nn.Linear(4 * w, info.num_classes))
