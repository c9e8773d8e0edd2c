"""The trials of the tiny run, with independent means to recompute them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmark import data, registry
from benchmark.data.images import ImageData
from benchmark.data.members.pools import Pools
from benchmark.models.classifier import Architecture, Classifier, InputInfo
from benchmark.results.store import Store


@dataclass
class Finished:
    """Trials by their labels: ("leakage", "softmax", 0, "gradient")."""

    store: Store

    @cached_property
    def nodes(self) -> dict[tuple[str, str, int | None, str], Mapping[str, Any]]:
        (plan,) = self.store.plans()
        return {(n["stage"], n["model"], n["replica"], n["method"]): n for n in plan["nodes"]}

    def key(self, stage: str, model: str = "", replica: int | None = None, method: str = "") -> str:
        return str(self.nodes[stage, model, replica, method]["key"])

    def tensors(self, *place: Any) -> dict[str, Tensor]:
        return self.store.tensors(self.key(*place))

    def rows(self, *place: Any) -> dict[tuple[str, str], dict[str, Any]]:
        """(space, metric) -> row."""
        return {(row["space"], row["metric"]): row for row in self.store.rows(self.key(*place)).to_pylist()}

    def values(self, *place: Any) -> dict[str, float | None]:
        return {metric: row["value"] for (_, metric), row in self.rows(*place).items()}

    @cached_property
    def images(self) -> ImageData:
        return data.load(registry.parse("data", "fashion_mnist_13k"), None)

    @cached_property
    def pools(self) -> Pools:
        return Pools(self.tensors("pools"), self.key("pools"))

    def network(self, stored: str) -> Classifier:
        """The model of a `train` trial."""
        architecture = registry.parse("architecture", self.store.trial(stored).stage["architecture"])
        assert isinstance(architecture, Architecture)
        model = architecture.build(InputInfo(1, 28, 28, 3, self.images.mean, self.images.std))
        model.load(self.store.tensors(stored))
        return model.eval().requires_grad_(False)


def pixels(images: Tensor) -> Tensor:
    """uint8 -> float in [0, 1], contiguous."""
    return images.float() / 255


def in_one_go(function: Any, images: Tensor) -> npt.NDArray[np.float64]:
    """float64 result over a whole tensor of float images, without batches or channels last."""
    with torch.no_grad():
        result: npt.NDArray[np.float64] = function(images).double().numpy()
    return result
