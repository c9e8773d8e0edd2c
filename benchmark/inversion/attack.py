"""What every inversion attack is."""

from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor, nn

from benchmark.spec import Spec


@dataclass(frozen=True)
class Victim:
    """What an attacker knows: the model and the kind of image it takes.

    shape: (C, H, W). members, non_members, auxiliary: uint8 images with labels, for injected
    controls only; an attack that looks at them is no attack.
    """

    model: nn.Module
    shape: tuple[int, int, int]
    num_classes: int
    device: torch.device
    members: tuple[Tensor, Tensor]
    non_members: tuple[Tensor, Tensor]
    auxiliary: tuple[Tensor, Tensor]


class Inversion(Spec):
    """Makes `samples_per_class` images of every class."""

    samples_per_class: int = Field(default=8, ge=1)

    def reconstruct(self, victim: Victim, generator: torch.Generator) -> Tensor:
        """(K * samples_per_class, C, H, W) float32 in [0, 1], grouped by class."""
        raise NotImplementedError

    def targets(self, num_classes: int) -> Tensor:
        """(K * samples_per_class,) target classes, in the order of `reconstruct`."""
        return torch.arange(num_classes).repeat_interleave(self.samples_per_class)

    @property
    def label(self) -> str:
        """Short name for tables."""
        return type(self).__name__.lower()

    @property
    def passes(self) -> int:
        """Forward-backward passes a reconstruction costs."""
        return 0
