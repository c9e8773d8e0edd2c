"""`Classifier` and `Architecture`: a normalisation, a body that gives features, and a linear head."""

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from benchmark.spec import Spec, SpecError
from benchmark.user_files.returned import described


@dataclass(frozen=True)
class InputInfo:
    """What a network is built for. mean, std: per channel, in units of [0, 1] pixels."""

    channels: int
    height: int
    width: int
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def normalised(self, mean: tuple[float, ...], std: tuple[float, ...]) -> "InputInfo":
        """The same images under another normalisation."""
        return replace(self, mean=mean, std=std)

    def unnormalised(self) -> "InputInfo":
        """The same images as they are, in [0, 1]."""
        return self.normalised((0.0,) * self.channels, (1.0,) * self.channels)


class Classifier(nn.Module):
    """`forward(x) = head(features(x))`.

    x: (N, C, H, W) float in [0, 1]. features: (N, D), the pooled last convolutional output.
    """

    mean: Tensor
    std: Tensor
    num_replaced: int = 0
    """Batch norms of its architecture that are group norms here."""

    def __init__(self, info: InputInfo, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.body, self.head = body, head
        self.register_buffer("mean", torch.tensor(info.mean, device="cpu").view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(info.std, device="cpu").view(1, -1, 1, 1))

    def features(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, D)."""
        return cast(Tensor, self.body((images - self.mean) / self.std))

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K)."""
        return cast(Tensor, self.head(self.features(images)))

    def initialise(self, generator: torch.Generator) -> None:
        """He-normal weights (He et al. 2015, fan-out), from the generator alone."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5, generator=generator)
            elif isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
                module.reset_parameters()
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def load(self, weights: dict[str, Tensor]) -> None:
        """Take the weights of a stored model. Raises RuntimeError naming the keys that do not fit."""
        self.load_state_dict(weights)


class Architecture(Spec):
    """Settings of a network. `make` builds it without touching any global random state."""

    @abstractmethod
    def network(self, info: InputInfo) -> Classifier:
        """The module tree; called on the meta device, so it must not compute with weights."""

    def build(self, info: InputInfo) -> Classifier:
        """The network with undefined weights, on the CPU, channels last."""
        with torch.device("meta"):
            model: object = self.network(info)
        if not isinstance(model, Classifier):
            raise SpecError(f"network returned {described(model)}; allowed: a Classifier")
        buffers = {name: b for name, b in model.named_buffers() if not b.is_meta}
        model = model.to_empty(device="cpu")
        for name, buffer in buffers.items():
            owner, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(owner), leaf, buffer)
        return model.to(memory_format=torch.channels_last)


class GlobalPool(nn.Module):
    """(N, C, H, W) -> (N, C): mean over places."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))
