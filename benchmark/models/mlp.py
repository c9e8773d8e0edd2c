"""A multilayer perceptron on pixels."""

from typing import Annotated

from pydantic import Field
from torch import nn

from benchmark.models.classifier import Architecture, Classifier, InputInfo


class MLP(Architecture):
    """Linear layers with ReLU on pixels; features are the last hidden layer."""

    SOURCE = "Rumelhart, Hinton and Williams 1986"
    hidden: Annotated[
        tuple[Annotated[int, Field(ge=1, le=1_000_000, strict=True)], ...],
        Field(strict=False, min_length=1, max_length=1_000),
    ] = (
        512,
        512,
    )

    def network(self, info: InputInfo) -> Classifier:
        layers: list[nn.Module] = [nn.Flatten()]
        size = info.channels * info.height * info.width
        for width in self.hidden:
            layers += [nn.Linear(size, width), nn.ReLU(inplace=True)]
            size = width
        return Classifier(info, nn.Sequential(*layers), nn.Linear(size, info.num_classes))
