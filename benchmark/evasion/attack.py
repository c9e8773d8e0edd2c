"""`Evasion`: what every evasion attack provides, and the only place where input gradients are taken."""

import itertools
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from benchmark.evasion.norms import LARGEST_L2, NormName, check_length
from benchmark.search_space import Space
from benchmark.spec import Fraction, Spec, SpecError
from benchmark.user_files.returned import check_tensor, described

Kind = Literal["one_step", "iterated", "black_box", "given"]
Losses = Callable[[Tensor, Tensor], Tensor]
"""Logits (N, K) and labels (N,) -> the loss of each image, (N,)."""


@dataclass(frozen=True)
class Perturbed:
    """images: (N, C, H, W), inside the ball and [0, 1]. loss: (steps,) mean cross-entropy on the way.

    by_black_box: of an ensemble with a black-box part, (N,) bool, which images that one fooled after those that use
    gradients had failed; None of any other attack.
    """

    images: Tensor
    loss: Tensor
    by_black_box: Tensor | None = None


class Evasion(Spec):
    """An untargeted attack inside a norm ball around each image."""

    KIND: ClassVar[Kind] = "iterated"
    """What the attack may use; `masking_suspected` compares the kinds."""
    TOLD = ("norm", "epsilon")
    norm: NormName = "linf"
    epsilon: Fraction = Field(gt=0, le=LARGEST_L2)

    @model_validator(mode="after")
    def _in_pixel_units(self) -> Self:
        check_length(self.norm, self.epsilon)
        return self

    @abstractmethod
    def perturb(self, model: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> Perturbed:
        """Attack a batch.

        images: (N, C, H, W) in [0, 1]. labels: (N,) true classes. The model is in eval mode.
        Images that are misclassified already come back unchanged.
        """

    @property
    def passes(self) -> int:
        """Forward-backward passes an image costs at the most."""
        return 1

    @property
    def forward_only(self) -> int:
        """How many of `passes` have no backward pass, and so cost half."""
        return 0

    def remark(self, num_classes: int) -> str:
        """What a reader of its numbers must know about it on a model of so many classes; "" for nothing."""
        return ""

    @property
    def search_space(self) -> Space:
        """The settings that `bench tune` searches; none of them may change `passes` or the label."""
        return {}


def checked(found: object, images: Tensor, method: str) -> Perturbed:
    """What `perturb` returned for these images. method: "evasion 'mine'". Raises SpecError if it may not."""
    if not isinstance(found, Perturbed):
        raise SpecError(f"{method}: perturb returned {described(found)}; allowed: Perturbed(images, loss)")
    check_tensor(found.images, f"{method}: perturb returned images", images.shape, images.dtype)
    loss: object = found.loss
    if not isinstance(loss, Tensor) or loss.ndim != 1 or not loss.is_floating_point() or loss.device.type != "cpu":
        raise SpecError(f"{method}: perturb returned a loss: {described(loss)}; allowed: float of (steps,), on the CPU")
    if found.by_black_box is not None:
        check_tensor(found.by_black_box, f"{method}: perturb returned by_black_box", images.shape[:1], torch.bool)
    return found


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Weights without gradients: backward then stops at the input and skips half of its work."""
    weights = [p for p in model.parameters() if p.requires_grad]
    for p in weights:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in weights:
            p.requires_grad_(True)


@contextmanager
def channels_last(model: nn.Module) -> Iterator[None]:
    """Convolution weights in the layout that processors and GPUs compute fastest in, whatever the user's is."""
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    before = [layer.weight.data for layer in layers]
    try:
        for layer in layers:
            layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)
        yield
    finally:
        for layer, weight in zip(layers, before, strict=True):
            layer.weight.data = weight


@contextmanager
def folded(model: nn.Module) -> Iterator[None]:
    """Each batch norm in eval mode merged into the convolution before it, where an `nn.Sequential` has the two
    side by side: the same function up to rounding, in fewer passes over memory. For attacks of many steps.
    """
    pairs = list(_convolutions_with_norms(model))
    try:
        for layers, i, convolution, norm in pairs:
            layers[i], layers[i + 1] = fuse_conv_bn_eval(convolution, norm), nn.Identity()
        yield
    finally:
        for layers, i, convolution, norm in pairs:
            layers[i], layers[i + 1] = convolution, norm


@contextmanager
def fixed(model: nn.Module) -> Iterator[None]:
    """The network as a function of its input alone, computed as fast as it can be: for attacks of many steps."""
    with ExitStack() as stack:
        for prepared in (frozen, channels_last, folded):
            stack.enter_context(prepared(model))
        yield


def _convolutions_with_norms(model: nn.Module) -> Iterator[tuple[nn.Sequential, int, nn.Conv2d, nn.BatchNorm2d]]:
    """Subclasses may compute more than their parents: a norm with its activation, a convolution that standardises its
    weights. Only those count that say they are `FOLDABLE`, in a Sequential that applies one after the other.
    """
    for layers in model.modules():
        if isinstance(layers, nn.Sequential) and type(layers).forward is nn.Sequential.forward and not layers.training:
            for i, (convolution, norm) in enumerate(itertools.pairwise(layers)):
                if not _foldable(convolution) or _hooked(norm):
                    continue
                if type(norm) is nn.BatchNorm2d and norm.track_running_stats:
                    assert isinstance(convolution, nn.Conv2d)
                    yield layers, i, convolution, norm


def _foldable(layer: nn.Module) -> bool:
    return (type(layer) is nn.Conv2d or bool(getattr(layer, "FOLDABLE", False))) and not _hooked(layer)


def _hooked(layer: nn.Module) -> bool:
    """A hook may compute the weights, as weight norm's does, or change what comes in or out."""
    return bool(layer._forward_pre_hooks or layer._forward_hooks)


def cross_entropies(logits: Tensor, labels: Tensor) -> Tensor:
    """(N,)."""
    return functional.cross_entropy(logits.float(), labels, reduction="none")


def input_gradient(
    model: Callable[[Tensor], Tensor], x: Tensor, labels: Tensor, losses: Losses = cross_entropies
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient (N, C, H, W) of each image's loss, the logits (N, K) and the losses (N,)."""
    x = x.detach().requires_grad_(True)
    logits = model(x)
    found = losses(logits, labels)
    (gradient,) = torch.autograd.grad(found.sum(), x)
    return gradient, logits.detach(), found.detach()
