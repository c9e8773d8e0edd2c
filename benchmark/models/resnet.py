"""ResNets for small images. Parts have the names of the usual CIFAR code, so that its checkpoints fit."""

from collections import OrderedDict
from typing import ClassVar, cast

from torch import Tensor, nn

from benchmark.models.classifier import Architecture, Classifier, GlobalPool, InputInfo


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut (He et al. 2016a)."""

    EXPANSION: ClassVar[int] = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(inputs, width, 3, stride, 1, bias=False),
                bn1=nn.BatchNorm2d(width),
                relu=nn.ReLU(inplace=True),
                conv2=nn.Conv2d(width, width, 3, 1, 1, bias=False),
                bn2=nn.BatchNorm2d(width),
            )
        )
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.relu(self.inner(x) + self.shortcut(x)))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, four times as wide at the end (He et al. 2016a)."""

    EXPANSION: ClassVar[int] = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(inputs, width, 1, bias=False),
                bn1=nn.BatchNorm2d(width),
                relu1=nn.ReLU(inplace=True),
                conv2=nn.Conv2d(width, width, 3, stride, 1, bias=False),
                bn2=nn.BatchNorm2d(width),
                relu2=nn.ReLU(inplace=True),
                conv3=nn.Conv2d(width, 4 * width, 1, bias=False),
                bn3=nn.BatchNorm2d(4 * width),
            )
        )
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = shortcut(inputs, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.relu(self.inner(x) + self.shortcut(x)))


def shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    """Identity, or a 1x1 convolution with batch norm where the shape changes."""
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


def stages(
    block: type[BasicBlock] | type[Bottleneck], depths: tuple[int, ...], inputs: int
) -> tuple[dict[str, nn.Module], int]:
    """layer1, layer2, ... of widths 64, 128, ..., each but the first at half the size; and the channels of the last."""
    layers: dict[str, nn.Module] = {}
    for i, depth in enumerate(depths):
        width, blocks = 64 << i, []
        for j in range(depth):
            blocks.append(block(inputs, width, 2 if i > 0 and j == 0 else 1))
            inputs = width * block.EXPANSION
        layers[f"layer{i + 1}"] = nn.Sequential(*blocks)
    return layers, inputs


class _SmallImageResNet(Architecture):
    """3x3 stem of stride 1, no max-pool: the usual form for 28 to 64 pixel images."""

    BLOCK: ClassVar[type[BasicBlock] | type[Bottleneck]]
    DEPTHS: ClassVar[tuple[int, ...]]

    def network(self, info: InputInfo) -> Classifier:
        layers, channels = stages(self.BLOCK, self.DEPTHS, 64)
        body = OrderedDict[str, nn.Module](
            conv1=nn.Conv2d(info.channels, 64, 3, 1, 1, bias=False),
            bn1=nn.BatchNorm2d(64),
            relu=nn.ReLU(inplace=True),
            **layers,
            pool=GlobalPool(),
        )
        return Classifier(info, nn.Sequential(body), nn.Linear(channels, info.num_classes))


class ResNet18(_SmallImageResNet):
    """18 layers, 3x3 stem of stride 1, no max-pool: the usual form for 28 to 64 pixel images."""

    SOURCE = "He et al. 2016, the CIFAR form with basic blocks"
    BLOCK = BasicBlock
    DEPTHS = (2, 2, 2, 2)


class ResNet50(_SmallImageResNet):
    """50 layers of bottlenecks, 3x3 stem of stride 1, no max-pool."""

    SOURCE = "He et al. 2016, the CIFAR form with bottlenecks"
    BLOCK = Bottleneck
    DEPTHS = (3, 4, 6, 3)
