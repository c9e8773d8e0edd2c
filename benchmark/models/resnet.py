"""ResNet-18 for small images."""

from typing import cast

from torch import Tensor, nn

from benchmark.models.classifier import Architecture, Classifier, GlobalPool, InputInfo


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut (He et al. 2016a)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.relu(self.inner(x) + self.shortcut(x)))


class ResNet18(Architecture):
    """18 layers, 3x3 stem of stride 1, no max-pool: the usual form for 28 to 64 pixel images."""

    SOURCE = "He et al. 2016, the CIFAR form with basic blocks"

    def network(self, info: InputInfo) -> Classifier:
        layers: list[nn.Module] = [
            nn.Conv2d(info.channels, 64, 3, 1, 1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
        ]
        channels = 64
        for width, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
            layers += [BasicBlock(channels, width, stride), BasicBlock(width, width, 1)]
            channels = width
        return Classifier(info, nn.Sequential(*layers, GlobalPool()), nn.Linear(channels, info.num_classes))
