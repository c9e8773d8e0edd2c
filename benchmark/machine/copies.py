"""Copies between the CPU and the device that computes. One that is waited for is a stall: a GPU runs dry meanwhile.

So numbers that are drawn on the CPU are sent without waiting, and what the CPU must know is asked for all at once.
"""

import torch
from torch import Tensor


def sent(values: Tensor, device: torch.device) -> Tensor:
    """`values.to(device)`, of a tensor on the CPU, which goes on meanwhile: the copy is made from page-locked memory.

    torch keeps that memory, a copy of its own, until the GPU has had it.
    """
    source = values.pin_memory() if device.type == "cuda" else values
    return source.to(device, non_blocking=True)


def told(*masks: Tensor) -> tuple[Tensor, ...]:
    """These masks, (N,) bool, on the CPU; for all of them one stall. The lengths may differ."""
    if masks[0].device.type == "cpu":
        return masks
    known: tuple[Tensor, ...] = torch.cat(masks).cpu().split([len(mask) for mask in masks])
    return known


def rows_where(*masks: Tensor) -> tuple[Tensor, ...]:
    """Of each mask (N,) bool the places where it is true, (M,) int64, on its device; for all of them one stall.

    An index by a mask waits for the number of rows each time; one by these places does not.
    """
    return tuple(sent(mask.nonzero().flatten(), masks[0].device) for mask in told(*masks))
