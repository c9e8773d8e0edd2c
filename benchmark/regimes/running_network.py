"""How a training calls its network: compiled and in bfloat16 where that pays; and why its loss may be no number."""

import contextlib
import shutil
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from benchmark.models.classifier import Classifier
from benchmark.models.operations import operations_counted

_LOOKED_AT = 250
"""Images that go through the network at once after a training has failed."""
_COMPILING = 35.0
"""Seconds. Of one run on an H100 (perf/RESULTS.md): the first epoch of a ResNet-18, 10,240 images at 7,047 a second,
took 25 times as long as a later one; of a small network's training 51 of 52 s were compiling."""
_SAVED_AN_OPERATION = 1 / 63e12 - 1 / 258e12
"""Seconds, the most that compiling saves. Of the same run: operations a second of a plain loop with TF32 in
convolutions, and of our compiled training, which owes a part of that to bfloat16."""
_SAVED_A_PASS = 1e-3
"""Seconds of a batch's pass that are spent on launching kernels one by one. An assumption: a hundred of 10 us each."""
_FORWARD_AND_BACKWARD = 3
"""In forward passes."""
Network = Callable[[Tensor], Tensor]


def to_float(images: Tensor) -> Tensor:
    """uint8 (N, C, H, W) -> float32 in [0, 1], channels last."""
    return images.to(torch.float32, memory_format=torch.channels_last).div_(255)


def compiled(model: Classifier, images: Tensor, passes: float, batch_size: int) -> Network:
    """The network as a training of so many forward-backward passes of an image calls it: compiled where that pays.

    On a GPU, if the C compiler that Triton calls is there, and the training is long enough, see `worth_compiling`. On
    a CPU compiling takes longer than a small network's whole training. images: (N, C, H, W), of those that it gets.
    """
    if images.device.type != "cuda" or not any(shutil.which(name) for name in ("cc", "gcc", "clang")):
        return model
    if not worth_compiling(_forward_operations(model, images[:1]), passes, batch_size):
        return model
    return cast(Network, torch.compile(model))


def worth_compiling(forward_operations: float, passes: float, batch_size: int) -> bool:
    """Whether compiling can save more seconds of a training than it costs.

    forward_operations: of one image. passes: of an image, forward and backward, in the whole training. batch_size:
    images that a pass takes at once. What is saved is an upper bound: the operations, as if all that the compiled
    training was faster by were compiling's doing, and the launches of kernels, which bind small networks.
    The numbers rest on one run on one H100; uncompiled trainings in bfloat16 were never timed.
    """
    operations = _FORWARD_AND_BACKWARD * forward_operations * passes
    saved = operations * _SAVED_AN_OPERATION + passes / batch_size * _SAVED_A_PASS
    return saved > _COMPILING


@torch.no_grad()
def _forward_operations(model: Classifier, image: Tensor) -> float:
    """Of one image, (1, C, H, W). In eval mode the pass leaves no trace in batch norm's statistics."""
    before = model.training
    model.eval()
    with operations_counted(model) as counted:
        model(to_float(image))
    model.train(before)
    return counted.total


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
