"""Winograd's 3x3 convolution: a quarter of the products, for attacks of many steps on a CPU.

Lavin and Gray 2016, Fast Algorithms for Convolutional Neural Networks, arXiv 1509.09308: F(4x4, 3x3). Tiles of 6 x 6
pixels are added up in 36 ways, each is one matrix product over the channels, and the results are added up to 4 x 4
places. oneDNN computes convolutions as fast as a processor multiplies; only fewer products are faster. Differs: 1e-5 of
the largest output from the exact result, ten times what a direct convolution in float32 does.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark.evasion.attack import folded

FEWEST_CHANNELS = 128
"""Below, the sums cost as much as the products that are saved."""
_AT_ONCE = 6 * 2**20
"""Numbers in the tiles of the images that are convolved at once: larger tensors the C library returns to the kernel."""
_KERNEL = torch.tensor(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)


@contextmanager
def fewer_products(model: nn.Module) -> Iterator[None]:
    """In it, wide 3x3 convolutions on the CPU are computed by Winograd's way. For frozen weights alone."""
    swapped = [
        (parent, name, layer)
        for parent in list(model.modules())
        for name, layer in parent.named_children()
        if is_wide(layer)
    ]
    try:
        for parent, name, layer in swapped:
            setattr(parent, name, _Winograd(layer))
        yield
    finally:
        for parent, name, layer in swapped:
            setattr(parent, name, layer)


@contextmanager
def fast_if_wide(model: nn.Module) -> Iterator[None]:
    """`fewer_products` and folded batch norm where there are such convolutions; else nothing, to the bit."""
    if not any(is_wide(layer) for layer in model.modules()):
        yield
        return
    with folded(model), fewer_products(model):
        yield


def is_wide(layer: nn.Module) -> bool:
    """Whether it is a convolution that Winograd's way would speed up."""
    return (
        type(layer) is nn.Conv2d
        and (layer.kernel_size, layer.stride, layer.padding, layer.dilation) == ((3, 3), (1, 1), (1, 1), (1, 1))
        and layer.groups == 1
        and layer.padding_mode == "zeros"
        and min(layer.in_channels, layer.out_channels) >= FEWEST_CHANNELS
        and (layer.weight.device.type, layer.weight.dtype) == ("cpu", torch.float32)
        and not (layer._forward_pre_hooks or layer._forward_hooks)
    )


class _Winograd(nn.Module):
    """A convolution with these weights; of images whose size is no multiple of 4 it is the layer itself."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self._direct = (layer,)  # in a tuple: it is no part of this module

    @cached_property
    def forth(self) -> Tensor:
        """The kernel; made when it is first needed, which it may never be."""
        return transformed_kernel(self._direct[0].weight.detach())

    @cached_property
    def back(self) -> Tensor:
        """That of the gradient: turned, inputs and outputs swapped."""
        return transformed_kernel(self._direct[0].weight.detach().flip(2, 3).transpose(0, 1))

    def forward(self, x: Tensor) -> Tensor:
        (layer,) = self._direct
        if x.shape[2] % 4 or x.shape[3] % 4:
            result = layer(x)
        else:
            result = _Convolution.apply(x, self)
            if layer.bias is not None:
                result = result.add_(layer.bias.detach().view(1, -1, 1, 1))
        assert isinstance(result, Tensor)
        return result


class _Convolution(torch.autograd.Function):
    """The gradient is a convolution, too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: _Winograd) -> Tensor:
        ctx.layer = layer
        return convolved(x, layer.forth)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None]:
        return convolved(gradient, ctx.layer.back) if ctx.needs_input_grad[0] else None, None


def transformed_kernel(weight: Tensor) -> Tensor:
    """(K, C, 3, 3) -> (36, C, K)."""
    outputs, inputs = weight.shape[:2]
    taps = weight.permute(2, 3, 1, 0).reshape(9, inputs * outputs)
    return (torch.kron(_KERNEL, _KERNEL) @ taps).view(36, inputs, outputs)


@torch.no_grad()
def convolved(x: Tensor, kernel: Tensor) -> Tensor:
    """x: (N, C, H, W), H and W multiples of 4. kernel: (36, C, K). Result: (N, K, H, W), channels last."""
    n, channels, height, width = x.shape
    outputs = kernel.shape[2]
    # No view of another tensor: a ReLU in place may follow.
    result = torch.empty(n, outputs, height, width, memory_format=torch.channels_last)
    numbers = 36 * (height // 4) * (width // 4) * max(channels, outputs)
    parts = max(1, -(-n * numbers // _AT_ONCE))
    for images, places in zip(x.chunk(parts), result.chunk(parts), strict=True):
        _convolve(images, kernel, places)
    return result


def _convolve(x: Tensor, kernel: Tensor, result: Tensor) -> None:
    n, channels, height, width = x.shape
    down, across, outputs = height // 4, width // 4, kernel.shape[2]
    padded = functional.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    lines = x.new_empty(6, n, down, width + 2, channels)
    _into_tile([padded[:, i : i + height - 3 : 4] for i in range(6)], lines)
    tiles = x.new_empty(6, 6, n, down, across, channels)
    _into_tile([lines[:, :, :, j : j + width - 3 : 4] for j in range(6)], tiles.transpose(0, 1))
    products = torch.bmm(tiles.view(36, -1, channels), kernel).view(6, 6, n, down, across, outputs)
    halves = x.new_empty(4, 6, n, down, across, outputs)
    _out_of_tile(products, halves)
    places = result.permute(0, 2, 3, 1).view(n, down, 4, across, 4, outputs)
    _out_of_tile(halves.transpose(0, 1), places.permute(4, 2, 0, 1, 3, 5))


def _into_tile(d: Sequence[Tensor], out: Tensor) -> None:
    """Six places of the input, one dimension of the tile -> the six sums of them that are multiplied."""
    torch.sub(d[4], d[2], alpha=5, out=out[0]).add_(d[0], alpha=4)
    even, odd = torch.sub(d[4], d[2], alpha=4), torch.sub(d[3], d[1], alpha=4)
    torch.add(even, odd, out=out[1])
    torch.sub(even, odd, out=out[2])
    torch.sub(d[4], d[2], out=even)
    torch.sub(d[3], d[1], out=odd)
    torch.add(even, odd, alpha=2, out=out[3])
    torch.sub(even, odd, alpha=2, out=out[4])
    torch.sub(d[5], d[3], alpha=5, out=out[5]).add_(d[1], alpha=4)


def _out_of_tile(m: Tensor, out: Tensor) -> None:
    """Six products -> the four places of the output."""
    near, near_odd = m[1] + m[2], m[1] - m[2]
    far, far_odd = m[3] + m[4], m[3] - m[4]
    torch.add(near, far, out=out[0]).add_(m[0])
    torch.add(near_odd, far_odd, alpha=2, out=out[1])
    torch.add(near, far, alpha=4, out=out[2])
    torch.add(near_odd, far_odd, alpha=8, out=out[3]).add_(m[5])
