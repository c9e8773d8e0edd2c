"""`Prior`: what every image prior provides: a generator that an attacker trains on auxiliary images alone."""

from abc import abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from benchmark.spec import Spec
from benchmark.trials.training_progress import UNKEPT, Progress


class Sampler(nn.Module):
    """A trained prior: latents (N, D) and classes (N,) -> images (N, C, H, W) in [0, 1]. Latents are standard normal.

    latent: D.
    """

    latent: int

    def realism(self, images: Tensor, labels: Tensor) -> Tensor:
        """(N,): higher, the more an image looks like an auxiliary image of its class."""
        raise NotImplementedError


class Prior(Spec):
    """Is trained once a suite, whatever is attacked: its trial's only input is the pools."""

    @abstractmethod
    def fit(
        self,
        images: Tensor,
        labels: Tensor,
        num_classes: int,
        generator: torch.Generator,
        progress: Progress = UNKEPT,
    ) -> tuple[dict[str, Tensor], list[float]]:
        """Train on auxiliary images; returns what `sampler` takes, on the CPU, and losses on the way.

        images: (N, C, H, W) uint8 and labels: (N,), both on the device to train on. progress: as in `Regime.fit`.
        Raises FloatingPointError when the training is not finite.
        """

    @abstractmethod
    def sampler(self, shape: tuple[int, int, int], num_classes: int, weights: Mapping[str, Tensor]) -> Sampler:
        """The trained prior in eval mode, weights frozen, on the CPU. shape: (C, H, W)."""

    @abstractmethod
    def operations(self, shape: tuple[int, int, int], num_classes: int) -> tuple[float, float]:
        """Floating-point operations, roughly, of the whole training, and of making one image."""
