"""Random crops and flips of a batch."""

import torch
from torch import Tensor
from torch.nn import functional

from benchmark.machine.copies import sent


def augmented(x: Tensor, generator: torch.Generator) -> Tensor:
    """Random crop from 2 pixels of zero padding and a horizontal flip, an image each."""
    n, _, height, width = x.shape
    top, left = sent(torch.randint(0, 5, (2, n), generator=generator), x.device)
    flip = sent(torch.rand(n, generator=generator) < 0.5, x.device)
    rows = top[:, None] + torch.arange(height, device=x.device)
    columns = torch.arange(width, device=x.device).expand(n, width)
    columns = left[:, None] + torch.where(flip[:, None], columns.flip(1), columns)
    padded = functional.pad(x, (2, 2, 2, 2))
    index = torch.arange(n, device=x.device)[:, None, None]
    cropped = padded[index, :, rows[:, :, None], columns[:, None, :]]
    return cropped.permute(0, 3, 1, 2)
