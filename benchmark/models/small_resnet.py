"""A pre-activation ResNet for suites on a few CPU cores."""

from typing import ClassVar, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from benchmark.models.classifier import Architecture, Classifier, GlobalPool, InputInfo


class PooledStem(nn.Conv2d):
    """3x3 convolution, then 2x2 average pool; both are linear, so they run as one convolution.

    The pooled kernel is 4x4 with stride 2. It reads the padded image as four half-size phases, where it is 2x2 with
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
        kernel = functional.pixel_unshuffle(pooled, 2)
        phases = functional.pixel_unshuffle(functional.pad(x, (1, 1, 1, 1)), 2)
        return functional.conv2d(phases.contiguous(memory_format=torch.channels_last), kernel, self.bias)


class PooledConvolution(nn.Conv2d):
    """The same function as `PooledStem`, for many channels: 3x3 convolution, then 2x2 average pool.

    The mean of each four neighbouring places comes first, of every channel alone. Of the convolution only what the pool
    would leave is then computed, with stride 2: a quarter of the products.
    """

    FOLDABLE: ClassVar[bool] = True

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        # As a convolution: `avg_pool2d` with stride 1 takes three times as long on a CPU.
        quarters = torch.full((channels, 1, 2, 2), 0.25, dtype=x.dtype, device=x.device)
        means = functional.conv2d(x, quarters, padding=1, groups=channels)
        return functional.conv2d(means, self.weight, self.bias, stride=2)


def norm_relu(channels: int) -> list[nn.Module]:
    """Batch norm, ReLU."""
    return [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]


class PreActBlock(nn.Module):
    """conv, norm-ReLU, conv on the activation before it, with a 1x1 shortcut; if `pooled`, then 2x2 average pool.

    The pool is taken into the last convolution, and goes before the shortcut: all three are linear.
    """

    def __init__(self, inputs: int, outputs: int, pooled: bool) -> None:
        super().__init__()
        last = PooledConvolution(outputs, outputs) if pooled else nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.inner = nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), *norm_relu(outputs), last)
        self.pool = nn.AvgPool2d(2) if pooled else nn.Identity()
        self.shortcut = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, active: Tensor) -> Tensor:
        return cast(Tensor, self.inner(active) + self.shortcut(self.pool(active)))


class SmallResNet(Architecture):
    """Stem at full size, then three blocks, each at half the size: widths w, 2w, 4w; features 4w wide.

    Average pools instead of strides: the gradient of a strided convolution has a grid of holes, which an
    inversion shows as a dot pattern.
    """

    VERSION = 2
    SOURCE = "He et al. 2016, Identity Mappings in Deep Residual Networks, cut to three blocks"
    width: int = Field(default=16, ge=1, le=4_096)

    def network(self, info: InputInfo) -> Classifier:
        w = self.width
        body = nn.Sequential(
            PooledStem(info.channels, w),
            *norm_relu(w),
            PreActBlock(w, w, pooled=True),
            nn.Identity(),  # so that the layers keep the names they have in stored weights
            *norm_relu(w),
            PreActBlock(w, 2 * w, pooled=True),
            nn.Identity(),
            *norm_relu(2 * w),
            PreActBlock(2 * w, 4 * w, pooled=False),
            *norm_relu(4 * w),
            GlobalPool(),
        )
        return Classifier(info, body, nn.Linear(4 * w, info.num_classes))
