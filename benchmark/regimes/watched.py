"""Images on which a training is watched after each epoch: how many it gets right, and how many under attack."""

from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor

from benchmark.evasion.pgd import PGD
from benchmark.models.classifier import Classifier
from benchmark.regimes.running_network import to_float
from benchmark.spec import Spec

_AT_ONCE = 250


class Validation(Spec):
    """Accuracy after each epoch, on auxiliary images that the model is not trained on.

    num_images: how many, as evenly over the classes as the pool is; at most half of the auxiliary pool. steps: of the
    PGD for robust accuracy, against the regime's own adversary; a regime without one has clean accuracy alone.
    early_stopping: the weights of the best epoch are the model's, by robust accuracy, without an adversary by clean
    accuracy (Rice et al. 2020, arXiv 2002.11569, Sec. 3.2). All epochs are trained: with a learning rate that falls to
    0 nobody knows before the last one which is the best.
    """

    num_images: int = Field(default=200, ge=1, le=1_000_000)
    steps: int = Field(default=10, ge=1, le=10_000)
    early_stopping: bool = False

    def passes(self, attacked: bool) -> float:
        """Forward-backward passes of one epoch, at the most."""
        return self.num_images * (1.0 / 3 + (self.steps if attacked else 0))


@dataclass(frozen=True)
class Watched:
    """images: (N, C, H, W) uint8 and labels: (N,), on the model's device. adversary: norm, radius in pixel units."""

    images: Tensor
    labels: Tensor
    adversary: tuple[str, float] | None
    steps: int

    def accuracies(self, model: Classifier) -> tuple[float, float | None]:
        """(clean, robust) accuracy of the model in eval mode; robust is None without an adversary.

        The attack starts from the same points each time, so that epochs differ by the model alone, and takes nothing
        from the training's generator. Leaves the model in eval mode.
        """
        model.eval()
        generator, right, standing = torch.Generator().manual_seed(0), 0, 0
        for images, labels in zip(self.images.split(_AT_ONCE), self.labels.split(_AT_ONCE), strict=True):
            x = to_float(images)
            right += _num_right(model, x, labels)
            if self.adversary is not None:
                norm, epsilon = self.adversary
                attack = PGD.parse({"norm": norm, "epsilon": epsilon, "steps": self.steps})
                standing += _num_right(model, attack.perturb(model, x, labels, generator).images, labels)
        robust = standing / len(self.labels) if self.adversary is not None else None
        return right / len(self.labels), robust


@torch.no_grad()
def _num_right(model: Classifier, x: Tensor, labels: Tensor) -> int:
    return int((model(x).argmax(1) == labels).sum())
