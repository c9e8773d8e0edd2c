"""`Inversion`: what every inversion attack provides, and the count of its passes through the target."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

import torch
from pydantic import Field
from torch import Tensor, nn

from benchmark.inversion.prior import Prior
from benchmark.search_space import Space
from benchmark.spec import Spec
from benchmark.user_files.returned import check_box, check_tensor


@dataclass(frozen=True)
class Victim:
    """What an attacker knows: the model and the kind of image it takes.

    shape: (C, H, W). members, non_members, auxiliary: uint8 images with labels, for injected
    controls only; an attack that looks at them is no attack. prior: what the attack's `learned_prior` has learned.
    """

    model: nn.Module
    shape: tuple[int, int, int]
    num_classes: int
    device: torch.device
    members: tuple[Tensor, Tensor]
    non_members: tuple[Tensor, Tensor]
    auxiliary: tuple[Tensor, Tensor]
    prior: Mapping[str, Tensor] = field(default_factory=dict)


class Inversion(Spec):
    """Makes `samples_per_class` images of every class."""

    samples_per_class: int = Field(default=8, ge=1, le=1_000_000)

    @abstractmethod
    def reconstruct(self, victim: Victim, generator: torch.Generator) -> Tensor:
        """(K * samples_per_class, C, H, W) float32 in [0, 1], grouped by class."""

    def targets(self, num_classes: int) -> Tensor:
        """(K * samples_per_class,) target classes, in the order of `reconstruct`."""
        return torch.arange(num_classes).repeat_interleave(self.samples_per_class)

    @property
    def passes(self) -> int:
        """Forward-backward passes through the target that a reconstruction costs at the most."""
        return 0

    @property
    def learned_prior(self) -> Prior | None:
        """What the attack needs to have been trained on auxiliary images: once a suite, in a trial of its own."""
        return None

    @property
    def search_space(self) -> Space:
        """The settings that `bench tune` searches; none of them may change `passes` or the label."""
        return {}

    def without_target(self) -> "Inversion | None":
        """The null case of an attack that could make images of a class without any target; None for all others."""
        return None

    def for_memoriser(self) -> Self:
        """The attack as it must be run on the memoriser, the positive control.

        Its probability of a class is 1 wherever that class is nearest, so cross-entropy has no gradient
        long before a member is reached; its logit has. A smoothness prior would blur what is reached.
        """
        return self

    def remark(self, model: nn.Module) -> str:
        """What a reader must know of this attack on this model, "" for nothing."""
        return ""


def checked(found: object, targets: object, shape: tuple[int, ...], count: int, method: str) -> Tensor:
    """What `reconstruct` returned, for `count` targets. shape: (C, H, W). method: "inversion 'mine'".

    Raises SpecError if it, or the targets, are none of their kind; FloatingPointError for NaN and infinity.
    """
    check_tensor(targets, f"{method}: targets returned", (count,), torch.int64)
    images = check_tensor(found, f"{method}: reconstruct returned", (count, *shape))
    if not bool(images.isfinite().all()):
        raise FloatingPointError(f"{method}: reconstructions hold NaN or infinity")
    check_box(images, f"{method}: reconstruct returned")
    return images


@dataclass
class Passes:
    """Images that went through a model: forward, and of these also backward."""

    forward: int = 0
    backward: int = 0


@contextmanager
def counted(model: nn.Module) -> Iterator[Passes]:
    """Count the passes through a model, whoever makes them."""
    passes = Passes()

    def count(_: nn.Module, __: object, logits: Tensor) -> None:
        passes.forward += len(logits)
        if logits.requires_grad:
            logits.register_hook(count_backward)

    def count_backward(gradient: Tensor) -> None:
        passes.backward += len(gradient)

    hook = model.register_forward_hook(count)
    try:
        yield passes
    finally:
        hook.remove()
