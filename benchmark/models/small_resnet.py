"""A pre-activation ResNet for suites on a few CPU cores."""

from typing import cast

from pydantic import Field
from torch import Tensor, nn

from benchmark.models.classifier import Architecture, Classifier, GlobalPool, InputInfo


class PooledPreActBlock(nn.Module):
    """Average pool, then norm-ReLU-conv twice, with a 1x1 shortcut from the first activation.

    Pooling instead of strides: the gradient of a strided convolution has a grid of holes, which an
    inversion shows as a dot pattern.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(2)
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        active = self.relu(self.norm1(self.pool(x)))
        inner = self.conv2(self.relu(self.norm2(self.conv1(active))))
        return cast(Tensor, inner + self.shortcut(active))


class SmallResNet(Architecture):
    """Stem at full size, then three blocks, each at half the size: widths w, 2w, 4w; features 4w wide."""

    SOURCE = "He et al. 2016, Identity Mappings in Deep Residual Networks, cut to three blocks"
    width: int = Field(default=16, ge=1)

    def network(self, info: InputInfo) -> Classifier:
        w = self.width
        body = nn.Sequential(
            nn.Conv2d(info.channels, w, 3, padding=1, bias=False),
            PooledPreActBlock(w, w),
            PooledPreActBlock(w, 2 * w),
            PooledPreActBlock(2 * w, 4 * w),
            nn.BatchNorm2d(4 * w),
            nn.ReLU(inplace=True),
            GlobalPool(),
        )
        return Classifier(info, body, nn.Linear(4 * w, info.num_classes))
