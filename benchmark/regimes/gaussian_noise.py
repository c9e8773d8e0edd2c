"""Training on images with Gaussian noise, which randomized smoothing needs."""

import torch
from pydantic import Field
from torch import Tensor

from benchmark.machine.copies import sent
from benchmark.regimes.regime import Network, Perturb, SupervisedTraining
from benchmark.spec import Fraction


class GaussianNoise(SupervisedTraining):
    """Cross-entropy of images with fresh noise N(0, noise_std^2) in every pixel, which may leave [0, 1] with it.

    noise_std: pixel units. As Cohen et al. train the network under their smoothing; the model here is that network by
    itself, not smoothed, so that nothing is certified.
    """

    SOURCE = "Cohen et al. 2019, Certified Adversarial Robustness via Randomized Smoothing, arXiv 1902.02918, Sec. 3.3"
    TOLD = ("noise_std",)
    noise_std: Fraction = Field(default=0.25, gt=0, le=100)

    def perturbing(self, num_batches: int, generator: torch.Generator) -> Perturb:
        def perturb(network: Network, x: Tensor, y: Tensor, step: int) -> Tensor:
            return x + self.noise_std * sent(torch.randn(x.shape, generator=generator), x.device)

        return perturb
