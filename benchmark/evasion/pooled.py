"""`PooledEvasion`: an attack that gets all images at once, so that its batches stay full while images fall."""

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmark.evasion.attack import Evasion, Losses, Perturbed, cross_entropies, input_gradient


class PooledEvasion(Evasion):
    """All images that still stand are at the same step of the attack; a step goes through them batch by batch.

    So every batch is full but the last, however many images have fallen.
    """

    @abstractmethod
    def perturb_pool(
        self, model: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator, batch_size: int
    ) -> Perturbed:
        """As `perturb`, of any number of images. batch_size: most that go through the network at once."""

    def perturb(self, model: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> Perturbed:
        return self.perturb_pool(model, images, labels, generator, len(images))


def pool_gradient(
    model: Callable[[Tensor], Tensor], x: Tensor, labels: Tensor, batch_size: int, losses: Losses = cross_entropies
) -> tuple[Tensor, Tensor, Tensor]:
    """`input_gradient` of any number of images, batch by batch: gradients (N, C, H, W), logits (N, K), losses (N,).

    `losses` must work image by image: it sees one batch at a time.
    """
    batches = zip(x.split(batch_size), labels.split(batch_size), strict=True)
    parts = [input_gradient(model, images, classes, losses) for images, classes in batches]
    gradient, logits, found = (torch.cat(part) for part in zip(*parts, strict=True))
    return gradient, logits, found


@torch.no_grad()
def pool_logits(model: Callable[[Tensor], Tensor], x: Tensor, batch_size: int) -> Tensor:
    """(N, K) logits of any number of images, batch by batch."""
    return torch.cat([model(batch) for batch in x.split(batch_size)])
