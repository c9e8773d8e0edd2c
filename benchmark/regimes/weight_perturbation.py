"""Adversarial weight perturbation: the gradient is taken where the weights are worst for the batch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def worst_weights(model: nn.Module, size: float, gradients: Callable[[], Tensor]) -> Iterator[None]:
    """In it, each layer's weights are moved along the gradient of the loss, by `size` times their own l2 norm.

    One step, as Wu et al. 2020 (arXiv 2004.05884, Sec. 3.3 and 4) take. gradients: a forward and backward pass that
    leaves gradients in the weights. Biases and the weights of norms are not moved, and the pass leaves no trace in
    batch norm's statistics, as in the authors' code. After it the weights are what they were, to the bit.
    """
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    gradients()
    before = []
    with torch.no_grad():
        for buffer, value in buffers:
            buffer.copy_(value)
        for weight in model.parameters():
            gradient, weight.grad = weight.grad, None
            if gradient is not None and weight.ndim > 1:
                before.append((weight, weight.detach().clone()))
                length = size * weight.norm() / gradient.norm().clamp_min(1e-20)
                weight.add_(gradient * length)
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, value in before:
                weight.copy_(value)
