"""The injected controls: known images that are handed in as if they were reconstructions."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from benchmark.inversion.attack import Inversion, Victim
from benchmark.spec import Fraction


class Injected(Inversion):
    """Copies of members (in_rate 1), of non-members (0) or of auxiliary images (0.5).

    noise_std: standard deviation of Gaussian pixel noise added to the copies.
    """

    SOURCE = "control of the measure itself; no attack"
    what: Literal["members", "non_members", "auxiliary"]
    noise_std: Fraction = Field(default=0.0, ge=0, le=1_000)

    def reconstruct(self, victim: Victim, generator: torch.Generator) -> Tensor:
        images, labels = getattr(victim, self.what)
        copies = []
        for target in range(victim.num_classes):
            of_class = (labels == target).nonzero().flatten().cpu()
            if len(of_class) < self.samples_per_class:
                raise ValueError(
                    f"samples_per_class: {self.samples_per_class} is more than class {target} has "
                    f"{self.what}; allowed: up to {len(of_class)}"
                )
            picked = of_class[torch.randperm(len(of_class), generator=generator)[: self.samples_per_class]]
            copies.append(images.cpu()[picked].float() / 255)
        stacked = torch.cat(copies)
        if self.noise_std:
            stacked = stacked + self.noise_std * torch.randn(stacked.shape, generator=generator)
        return stacked.clamp(0, 1)
