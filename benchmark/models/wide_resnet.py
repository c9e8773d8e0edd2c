"""Wide ResNet. Parts have the names of the usual code of adversarial training, so that its checkpoints fit."""

from collections import OrderedDict
from typing import cast

from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn import functional

from benchmark.models.classifier import Architecture, Classifier, GlobalPool, InputInfo
from benchmark.spec import Fraction, SpecError


class WideBlock(nn.Module):
    """norm, ReLU and 3x3 convolution, twice, with dropout between; a changed shape takes a 1x1 convolution beside."""

    def __init__(self, inputs: int, outputs: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.inner = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
                bn2=nn.BatchNorm2d(outputs),
                relu=nn.ReLU(inplace=True),
                dropout=nn.Dropout(dropout),
                conv2=nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            )
        )
        self.convShortcut: nn.Module | None = None
        if inputs != outputs:
            self.convShortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        active = functional.relu(self.bn1(x))
        return cast(Tensor, self.inner(active) + (x if self.convShortcut is None else self.convShortcut(active)))


class WideResNet(Architecture):
    """WRN-depth-widen_factor, by default WRN-28-10: three groups of (depth - 4) / 6 blocks."""

    SOURCE = "Zagoruyko and Komodakis 2016, arXiv 1605.07146"
    depth: int = Field(default=28, ge=10, le=1_000)
    widen_factor: int = Field(default=10, ge=1, le=256)
    dropout: Fraction = Field(default=0.0, ge=0, lt=1)

    @field_validator("depth")
    @classmethod
    def _whole_groups(cls, depth: int) -> int:
        if (depth - 4) % 6:
            raise SpecError(f"{depth} gives no whole number of blocks; allowed: 10, 16, 22, 28, 34, ...")
        return depth

    def network(self, info: InputInfo) -> Classifier:
        body = OrderedDict[str, nn.Module](conv1=nn.Conv2d(info.channels, 16, 3, 1, 1, bias=False))
        channels = 16
        for i, base in enumerate((16, 32, 64)):
            width, blocks = base * self.widen_factor, []
            for j in range((self.depth - 4) // 6):
                blocks.append(WideBlock(channels, width, 2 if i and j == 0 else 1, self.dropout))
                channels = width
            body[f"block{i + 1}"] = nn.Sequential(OrderedDict(layer=nn.Sequential(*blocks)))
        body |= {"bn1": nn.BatchNorm2d(channels), "relu": nn.ReLU(inplace=True), "pool": GlobalPool()}
        return Classifier(info, nn.Sequential(body), nn.Linear(channels, info.num_classes))
