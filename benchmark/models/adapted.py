"""Turns networks that others define into classifiers: torchvision's and timm's by name, and the user's functions."""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from benchmark.models.classifier import Classifier, InputInfo

Make = Callable[[], nn.Module]


class Adapted(Classifier):
    """Any network with images in and logits out. Its parts keep their names, below `body.`.

    features: what the last global pool makes of its input; without one, what the last linear layer is given. A pool
    to several places, as VGG's to 7 x 7, is taken as one to a single place.
    """

    def __init__(self, info: InputInfo, make: Make) -> None:
        # A network that computes with its weights while it is built cannot be built on the meta device.
        with torch.device("cpu"), torch.random.fork_rng(devices=[]):
            super().__init__(info, make(), nn.Identity())
        self._make = make

    def remade(self, change: Callable[[nn.Module], object]) -> None:
        """Fresh weights are from now on those of a network that was changed in place; this one has been already."""
        make = self._make

        def changed() -> nn.Module:
            network = make()
            change(network)
            return network

        self._make = changed

    def forward(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.body((images - self.mean) / self.std))

    def features(self, images: Tensor) -> Tensor:
        seen: list[tuple[Tensor, Tensor]] = []
        layer = feature_layer(self.body)
        hook = layer.register_forward_hook(lambda _, given, result: seen.append((given[0], result)))
        try:
            self.forward(images)
        finally:
            hook.remove()
        given, result = seen[-1]
        if not isinstance(layer, nn.Linear):
            # The pool itself knows whether channels come second, as in most networks, or last.
            pooled = result.flatten(2) if result.ndim > 2 else result.unsqueeze(2)
            return pooled.squeeze(2) if pooled.shape[2] == 1 else given.mean((2, 3))
        return given if given.ndim == 2 else given.flatten(1, -2).mean(1)

    def initialise(self, generator: torch.Generator) -> None:
        """Fresh weights, as the network's author draws them.

        Foreign constructors draw from the global generator alone; it is seeded from `generator` and put back.
        """
        seed = int(torch.randint(2**62, (), generator=generator))
        with torch.device("cpu"), torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            fresh = self._make()
        self.body.load_state_dict(fresh.state_dict())


def feature_layer(body: nn.Module) -> nn.Module:
    """The part whose input or output are a network's features. Raises ValueError if it has none."""
    layers = list(body.modules())
    pools = [layer for layer in layers if isinstance(layer, nn.AdaptiveAvgPool2d) or _is_timm_pool(layer)]
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    if not pools and not linear:
        raise ValueError(
            f"architecture: {type(body).__name__} has neither a global pool nor a linear layer for features"
        )
    return (pools or linear)[-1]


def _is_timm_pool(layer: nn.Module) -> bool:
    return type(layer).__name__ == "SelectAdaptivePool2d"


def take_channels(network: nn.Module, channels: int) -> nn.Module:
    """The network with a first convolution for this many input channels."""
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d):
            if layer.in_channels != channels:
                owner, _, leaf = name.rpartition(".")
                setattr(network.get_submodule(owner), leaf, _with_channels(layer, channels))
            return network
    return network


def _with_channels(layer: nn.Conv2d, channels: int) -> nn.Conv2d:
    settings: dict[str, Any] = {
        name: getattr(layer, name) for name in ("kernel_size", "stride", "padding", "dilation", "padding_mode")
    }
    return nn.Conv2d(channels, layer.out_channels, bias=layer.bias is not None, **settings)
