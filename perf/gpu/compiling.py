"""Trainings that are compiled, or not, whatever their length: those measured here are too short to be by themselves."""

from contextlib import AbstractContextManager
from unittest import mock

import torch
from torch import Tensor, nn

from benchmark.regimes import regime


def trainings(compiled: bool) -> AbstractContextManager[object]:
    """In this block every training compiles its network, on a GPU, or none does."""

    def network(model: nn.Module, images: Tensor, *_: object) -> object:
        return torch.compile(model) if compiled and images.device.type == "cuda" else model

    return mock.patch.object(regime, "compiled", network)
