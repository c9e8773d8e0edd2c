"""Stochastic gradient descent with Nesterov momentum, in few calls a step."""

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor


class SGD:
    """`torch.optim.SGD(momentum, weight_decay, nesterov)`, with equal results to the last bit.

    The loops over the weights are in C++. On a CPU torch's own takes a twentieth of a step of a small network, and the
    first one of a process a second more, in which it imports a compiler.
    """

    def __init__(self, weights: Iterable[Tensor], momentum: float, weight_decay: float) -> None:
        self.weights, self.momentum, self.weight_decay = list(weights), momentum, weight_decay
        self.state: defaultdict[Tensor, dict[str, Tensor]] = defaultdict(dict)

    @property
    def param_groups(self) -> list[dict[str, list[Tensor]]]:
        """As torch's optimizers name their weights: here one group."""
        return [{"params": self.weights}]

    def zero_grad(self) -> None:
        for weight in self.weights:
            weight.grad = None

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Move the weights that have a gradient. Changes the gradients."""
        moved = [(weight, weight.grad) for weight in self.weights if weight.grad is not None]
        weights, steps = [weight for weight, _ in moved], [gradient for _, gradient in moved]
        if self.weight_decay:
            torch._foreach_add_(steps, weights, alpha=self.weight_decay)
        if self.momentum:
            moments = [self._moment(weight) for weight in weights]
            torch._foreach_mul_(moments, self.momentum)
            torch._foreach_add_(moments, steps)
            torch._foreach_add_(steps, moments, alpha=self.momentum)
        torch._foreach_add_(weights, steps, alpha=-lr)

    def _moment(self, weight: Tensor) -> Tensor:
        kept = self.state[weight]
        if "momentum_buffer" not in kept:
            kept["momentum_buffer"] = torch.zeros_like(weight)
        return kept["momentum_buffer"]
