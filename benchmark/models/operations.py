"""Counts the operations of a network's forward pass."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass
class Operations:
    """total: floating-point operations so far."""

    total: float = 0.0


@contextmanager
def operations_counted(model: nn.Module) -> Iterator[Operations]:
    """In it, passes add two operations a multiplication of every convolution and linear layer; the rest is small."""
    counted = Operations()

    def count(layer: nn.Module, inputs: object, output: Tensor) -> None:
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        counted.total += 2.0 * output.numel() * layer.weight[0].numel()

    hooks = [
        layer.register_forward_hook(count) for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    try:
        yield counted
    finally:
        for hook in hooks:
            hook.remove()
