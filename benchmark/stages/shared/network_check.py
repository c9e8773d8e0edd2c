"""Checks that a network can be measured: the logits of an image depend on that image alone, and repeat."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark.models.classifier import Architecture, Classifier, InputInfo
from benchmark.regimes.regime import SupervisedTraining
from benchmark.spec import Spec, SpecError
from benchmark.user_files import include, users_code
from benchmark.user_files.returned import described

NUM_IMAGES = 3
_TOLERANCE = 1e-3
"""Of the largest logit: far above what rounding in float32 makes of another batch size, see `tests/stages`."""
_TOLERANCE_IN_ROUNDINGS = 16
"""The same where weights or logits have fewer bits."""


@torch.no_grad()
def check_network(network: nn.Module, images: Tensor, num_classes: int) -> None:
    """See, in three passes, whether the logits of an image depend on anything but the image.

    network: in eval mode. images: (N, C, H, W) float in [0, 1]; `NUM_IMAGES` are enough. Raises SpecError if it gives
    no logits (N, num_classes), or if passes over the same images, or over other batches with them, do not agree.
    NaN is for others to find: see `outputs.finite`.
    """
    contrast = torch.linspace(0.3, 1, len(images), device=images.device)  # lest their statistics be alike
    images = images * contrast.view(-1, 1, 1, 1)
    with _without_tf32():
        together = _logits(network, images, num_classes)
        turned = _logits(network, images.flip(0), num_classes).flip(0)
        alone = _logits(network, images[:1], num_classes)
        most = _tolerance(network, together)
        apart, moved = _distance(together[:1], alone), _distance(together, turned)
        if max(apart, moved) <= most:
            return
        again = _distance(together, _logits(network, images, num_classes))
    largest = f"of logits up to {_largest(together):.2g}"
    training = "it is in training mode again" if any(part.training for part in network.modules()) else ""
    if again > most:
        why = training or "dropout left on? random input? a state that it keeps?"
        raise SpecError(f"two passes over the same images differ by {again:.2g}, {largest} ({why})")
    what = "the other images of its batch" if apart > most else "its place in the batch"
    why = training or "batch statistics?"
    raise SpecError(f"its logits of an image depend on {what}, by {max(apart, moved):.2g} {largest} ({why})")


def check_users_network(architecture: Spec, regime: Spec | None, info: InputInfo) -> None:
    """The same for a network of the user's own before it is trained: with fresh weights, on noise.

    regime: what it is to be trained with, if anything; our loop needs logits in training mode too. Raises SpecError.
    """
    file = include.path_of(architecture)
    if not file:
        return
    assert isinstance(architecture, Architecture)
    with users_code.running(repr(file), file):
        model = architecture.build(info)
        model.initialise(torch.Generator().manual_seed(0))
        images = torch.rand(NUM_IMAGES, info.channels, info.height, info.width, generator=torch.Generator())
        _check_fresh(model.eval(), images, info.num_classes)
        if isinstance(regime, SupervisedTraining):
            _check_step(model.train(), images, info.num_classes)


def _check_fresh(model: Classifier, images: Tensor, num_classes: int) -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            if not weight.any():  # a head of zeros would hide what comes before it
                weight.normal_(std=0.02, generator=generator)
        check_network(model, images, num_classes)
        for name, values in (("logits", model(images)), ("features", model.features(images))):
            if values.ndim != 2 or len(values) != len(images):
                raise SpecError(f"its {name} of {len(images)} images are {described(values)}; allowed: a row an image")
            if not bool(values.isfinite().all()):
                raise SpecError(f"its {name} hold NaN or infinity, with fresh weights, on images of noise")


def _check_step(model: Classifier, images: Tensor, num_classes: int) -> None:
    """A step of training, but for the step."""
    try:
        logits = _logits(model, images, num_classes)
    except SpecError as error:
        raise SpecError(f"in training mode {error}") from error
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    if not weights or not logits.requires_grad:
        raise SpecError(
            f"it has nothing to train: {len(weights)} weights want gradients, and its logits give them none"
        )
    loss = functional.cross_entropy(logits.float(), torch.arange(len(images)) % num_classes)
    if not bool(loss.isfinite()):
        raise SpecError(f"in training mode its loss is {loss.item()}, with fresh weights, on images of noise")
    loss.backward()


def _logits(network: nn.Module, images: Tensor, num_classes: int) -> Tensor:
    found = network(images)
    shape = (len(images), num_classes)
    if not isinstance(found, Tensor) or found.shape != shape or not found.is_floating_point():
        raise SpecError(f"it gives {described(found)} for {len(images)} images; allowed: float logits of {shape}")
    return found


def _distance(a: Tensor, b: Tensor) -> float:
    """Largest difference of two numbers; NaN and infinity are passed over."""
    return _largest(a.float() - b.float())


def _largest(values: Tensor) -> float:
    return float(values.float().nan_to_num(0, 0, 0).abs().max())


def _tolerance(network: nn.Module, logits: Tensor) -> float:
    kinds = {logits.dtype, *(tensor.dtype for tensor in network.state_dict().values() if tensor.is_floating_point())}
    coarsest = max(torch.finfo(kind).eps for kind in kinds)
    relative = _TOLERANCE if coarsest <= torch.finfo(torch.float32).eps else _TOLERANCE_IN_ROUNDINGS * coarsest
    return relative * _largest(logits)


@contextmanager
def _without_tf32() -> Iterator[None]:
    """A GPU may else round one batch size to ten bits and not another."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
