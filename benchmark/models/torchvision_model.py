"""Any classifier of `torchvision.models`, by name."""

import inspect
from typing import Any

from pydantic import field_validator
from torch import nn

from benchmark.models.adapted import Adapted, take_channels
from benchmark.models.classifier import Architecture, Classifier, InputInfo
from benchmark.spec import SpecError, suggest


class TorchvisionModel(Architecture):
    """`{method: torchvision, name: resnet50}`: the network as torchvision builds it, untrained.

    Its first convolution takes the data's channels. Most are made for images of 224 pixels and shrink small ones to a
    point; a vision transformer is built for the data's size.
    """

    SOURCE = "torchvision.models"
    name: str

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        names = _classifiers()
        if name not in names:
            raise SpecError(f"torchvision has no classifier {name!r}{suggest(name, names)}")
        return name

    def network(self, info: InputInfo) -> Classifier:
        return Adapted(info, lambda: take_channels(_build(self.name, info), info.channels))


def _classifiers() -> list[str]:
    import torchvision.models

    return [str(name) for name in torchvision.models.list_models(module=torchvision.models)]


def _build(name: str, info: InputInfo) -> nn.Module:
    import torchvision.models

    settings: dict[str, Any] = {"weights": None, "num_classes": info.num_classes}
    accepted = inspect.signature(torchvision.models.get_model_builder(name)).parameters
    if name in ("googlenet", "inception_v3"):  # side outputs in training, and a slow draw of the weights
        settings |= {"aux_logits": False, "init_weights": False}
    if name.startswith("vit_") and "kwargs" in accepted:
        settings["image_size"] = info.height
    network: nn.Module = torchvision.models.get_model(name, **settings)
    return network
