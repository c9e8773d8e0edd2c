"""The fast gradient sign method."""

import torch
from torch import Tensor, nn

from benchmark.evasion.attack import Evasion, Perturbed, frozen, input_gradient
from benchmark.evasion.norms import NORMS


class FGSM(Evasion):
    """One step of length epsilon along the sign of the gradient (l2: along the gradient).

    An image that is misclassified already stays as it is: the step could even put it right.
    """

    SOURCE = "Goodfellow, Shlens and Szegedy 2015"
    KIND = "one_step"

    def perturb(self, model: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> Perturbed:
        with frozen(model):
            gradient, logits, losses = input_gradient(model, images, labels)
        moved = (images + self.epsilon * NORMS[self.norm].direction(gradient)).clamp(0, 1)
        stands = (logits.argmax(1) == labels).view(-1, 1, 1, 1)
        return Perturbed(torch.where(stands, moved, images), losses.mean().view(1).cpu())
