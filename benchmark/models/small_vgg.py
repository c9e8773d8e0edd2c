"""A VGG of four convolutions for suites on a few CPU cores."""

from pydantic import Field
from torch import nn

from benchmark.models.classifier import Architecture, Classifier, GlobalPool, InputInfo


def conv_block(inputs: int, outputs: int) -> list[nn.Module]:
    """3x3 convolution, batch norm, ReLU."""
    return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


class SmallVGG(Architecture):
    """conv-pool, conv-pool, conv-conv at widths w, 2w, 4w; batch norm; features 4w wide."""

    SOURCE = "Simonyan and Zisserman 2015, configuration A cut to its first four convolutions"
    width: int = Field(default=16, ge=1, le=4_096)

    def network(self, info: InputInfo) -> Classifier:
        w = self.width
        layers = [
            *conv_block(info.channels, w),
            nn.MaxPool2d(2),
            *conv_block(w, 2 * w),
            nn.MaxPool2d(2),
            *conv_block(2 * w, 4 * w),
            *conv_block(4 * w, 4 * w),
        ]
        return Classifier(info, nn.Sequential(*layers, GlobalPool()), nn.Linear(4 * w, info.num_classes))
