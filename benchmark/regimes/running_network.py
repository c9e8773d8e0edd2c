"""How a training calls its network: compiled and in bfloat16 where that pays; and why its loss may be no number."""

import contextlib
import shutil
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from benchmark.models.classifier import Classifier

_LOOKED_AT = 250
"""Images that go through the network at once after a training has failed."""
Network = Callable[[Tensor], Tensor]


def to_float(images: Tensor) -> Tensor:
    """uint8 (N, C, H, W) -> float32 in [0, 1], channels last."""
    return images.to(torch.float32, memory_format=torch.channels_last).div_(255)


def compiled(model: Classifier, device: torch.device) -> Network:
    """Compiled where it pays: on a GPU, if the C compiler that Triton calls is there.

    On a CPU compiling takes longer than a small network's whole training.
    """
    if device.type == "cuda" and any(shutil.which(name) for name in ("cc", "gcc", "clang")):
        return cast(Network, torch.compile(model))
    return model


def autocast(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """bfloat16 where it pays: on GPUs that compute in it. A CPU stays in float32."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.autocast("cuda", torch.bfloat16)
    return contextlib.nullcontext()


@torch.no_grad()
def why_not_finite(model: Classifier, images: Tensor) -> str:
    """What to do about a loss that is no number. Overwrites the weights: fresh ones show whether they were at fault."""
    model.initialise(torch.Generator().manual_seed(0))
    model.eval()
    logits = torch.cat([model(to_float(batch)) for batch in images.split(_LOOKED_AT)])
    bad = int((~logits.isfinite().all(1)).sum())
    if not bad:
        return "try a smaller lr"
    return (
        f"no lr would help: with fresh weights too the network gives NaN or infinity for {bad} of {len(images)} images"
    )
