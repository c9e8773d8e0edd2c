"""Any architecture of timm, by name."""

from typing import Any

from pydantic import field_validator
from torch import nn

from benchmark.models.adapted import Adapted
from benchmark.models.classifier import Architecture, Classifier, InputInfo
from benchmark.spec import SpecError, suggest


class TimmModel(Architecture):
    """`{method: timm, name: resnet18}`: the network as timm builds it, untrained, for the data's channels and size."""

    SOURCE = "Wightman 2019, PyTorch Image Models"
    name: str

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        names = [str(known) for known in _timm().list_models()]
        if name not in names:
            hint = suggest(name, names).partition(";")[0]
            raise SpecError(f"timm has no architecture {name!r}{hint}; allowed: one of timm.list_models()")
        return name

    def network(self, info: InputInfo) -> Classifier:
        return Adapted(info, lambda: _build(self.name, info))


def _timm() -> Any:
    try:
        import timm
    except ImportError as error:
        raise SpecError(
            f"timm cannot be imported ({error}); get it with `pip install timm`, or `pip install "
            "'robust-or-private[timm]'`"
        ) from error
    return timm


def _build(name: str, info: InputInfo) -> nn.Module:
    settings = {"pretrained": False, "num_classes": info.num_classes, "in_chans": info.channels}
    try:
        network: nn.Module = _timm().create_model(name, img_size=(info.height, info.width), **settings)
    except TypeError:  # networks for any image size take no such setting
        network = _timm().create_model(name, **settings)
    return network
