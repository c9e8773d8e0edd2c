"""Pre-activation ResNet-18 for small images. Parts have the names of the usual CIFAR code."""

from collections import OrderedDict
from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from benchmark.models.classifier import Architecture, Classifier, GlobalPool, InputInfo


class PreActBlock(nn.Module):
    """norm, ReLU and 3x3 convolution, twice; where the shape changes a 1x1 convolution of the activation is added."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.inner = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
                bn2=nn.BatchNorm2d(outputs),
                relu=nn.ReLU(inplace=True),
                conv2=nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            )
        )
        self.shortcut: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        active = functional.relu(self.bn1(x))
        return cast(Tensor, self.inner(active) + (x if self.shortcut is None else self.shortcut(active)))


class PreActResNet18(Architecture):
    """18 layers with the norm before each convolution and one at the end; 3x3 stem of stride 1, no max-pool."""

    SOURCE = "He et al. 2016, Identity Mappings in Deep Residual Networks (arXiv 1603.05027), the CIFAR form"

    def network(self, info: InputInfo) -> Classifier:
        body = OrderedDict[str, nn.Module](conv1=nn.Conv2d(info.channels, 64, 3, 1, 1, bias=False))
        channels = 64
        for i, width in enumerate((64, 128, 256, 512)):
            first = PreActBlock(channels, width, 2 if i else 1)
            body[f"layer{i + 1}"] = nn.Sequential(first, PreActBlock(width, width, 1))
            channels = width
        body |= {"bn": nn.BatchNorm2d(channels), "relu": nn.ReLU(inplace=True), "pool": GlobalPool()}
        return Classifier(info, nn.Sequential(body), nn.Linear(channels, info.num_classes))
