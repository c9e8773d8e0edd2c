"""The fast gradient sign method."""

import torch
from torch import Tensor, nn

from benchmark.evasion.attack import Evasion, Perturbed, frozen, input_gradient
from benchmark.evasion.norms import NORMS


class FGSM(Evasion):
    """One step of length epsilon along the sign of the gradient (l2: along the gradient)."""

    SOURCE = "Goodfellow, Shlens and Szegedy 2015"
    KIND = "one_step"

    def perturb(self, model: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> Perturbed:
        with frozen(model):
            gradient, _, losses = input_gradient(model, images, labels)
        step = self.epsilon * NORMS[self.norm].direction(gradient)
        return Perturbed((images + step).clamp(0, 1), losses.mean().view(1).cpu())
