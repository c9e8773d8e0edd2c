"""What every evasion attack is, and the one place where input gradients are taken."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from benchmark.evasion.norms import NormName
from benchmark.spec import Fraction, Spec

Kind = Literal["one_step", "iterated", "black_box"]


@dataclass(frozen=True)
class Perturbed:
    """images: (N, C, H, W), inside the ball and [0, 1]. loss: (steps,) mean cross-entropy on the way."""

    images: Tensor
    loss: Tensor


class Evasion(Spec):
    """An untargeted attack inside a norm ball around each image."""

    KIND: ClassVar[Kind] = "iterated"
    """What the attack may use; `masking_suspected` compares the kinds."""
    norm: NormName = "linf"
    epsilon: Fraction = Field(gt=0)

    def perturb(self, model: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> Perturbed:
        """Attack a batch.

        images: (N, C, H, W) in [0, 1]. labels: (N,) true classes. The model is in eval mode.
        Images that are misclassified already come back unchanged.
        """
        raise NotImplementedError

    @property
    def label(self) -> str:
        """Short name with norm and radius, e.g. `pgd-linf-0.1`."""
        return f"{type(self).__name__.lower()}-{self.norm}-{self.epsilon:.4g}"

    @property
    def passes(self) -> int:
        """Forward-backward passes an image costs at the most."""
        return 1


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


def input_gradient(model: Callable[[Tensor], Tensor], x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient (N, C, H, W) of each image's cross-entropy, the logits (N, K) and the losses (N,)."""
    x = x.detach().requires_grad_(True)
    logits = model(x)
    losses = functional.cross_entropy(logits.float(), labels, reduction="none")
    (gradient,) = torch.autograd.grad(losses.sum(), x)
    return gradient, logits.detach(), losses.detach()
