"""A network that fails on a batch of one size, given to `bench` with `--include`."""

from torch import Tensor, nn

from benchmark.models.classifier import Architecture, Classifier, InputInfo
from benchmark.registry import register

SIZE = 60
"""Of the batch of members that the tiny suite's primary attack is made on, and of no other batch there."""


class Fragile(nn.Flatten):
    def forward(self, x: Tensor) -> Tensor:
        if len(x) == SIZE:
            raise RuntimeError(f"a kernel that cannot do {SIZE} images")
        return super().forward(x)


class Brittle(Architecture):
    """Softmax regression."""

    def network(self, info: InputInfo) -> Classifier:
        return Classifier(info, Fragile(), nn.Linear(info.channels * info.height * info.width, info.num_classes))


register("architecture", "brittle", Brittle)
