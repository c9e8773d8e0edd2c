"""Free adversarial training: one backward pass moves the weights and the perturbation."""

import torch
from pydantic import Field
from torch import Tensor, nn

from benchmark.evasion.norms import NORMS
from benchmark.regimes.adversarial import AdversarialTraining
from benchmark.regimes.regime import Trained
from benchmark.regimes.running_network import autocast


class FreeAdversarialTraining(AdversarialTraining):
    """Each batch is trained on `replays` times; each backward pass also moves its perturbation, by a step of epsilon.

    The perturbation of a place in the batch goes on from batch to batch, as in the paper. epochs: times that each image
    is visited, so that it costs epochs x replays passes (the paper's N epochs are epochs x replays here, its m is
    `replays`). step_size: pixel units; None is epsilon. The network is in training mode, since the pass is the one that
    trains. Differs: the learning rate's rise and fall is that of our other regimes, and in l2 a step goes along the
    gradient's direction.
    """

    SOURCE = "Shafahi et al. 2019, Adversarial Training for Free!, arXiv 1904.12843"
    TOLD = ("norm", "epsilon")
    replays: int = Field(default=4, ge=1, le=10_000)

    @property
    def passes_per_image(self) -> float:
        return float(self.epochs * self.replays)

    @property
    def steps_a_batch(self) -> int:
        return self.replays

    def carried(self, batch: Tensor) -> "Perturbation":
        return Perturbation(batch)

    def gradients(self, trained: Trained, clean: Tensor, perturbed: Tensor, labels: Tensor) -> Tensor:
        assert isinstance(trained.carried, Perturbation)
        delta, geometry = trained.carried.delta, NORMS[self.norm]
        x = (clean + delta).clamp_(0, 1).requires_grad_(True)
        with autocast(clean.device):
            loss = self.loss(trained.network, clean, x, labels)
        loss.backward()
        assert x.grad is not None
        moved = delta + (self.step_size or self.epsilon) * geometry.direction(x.grad)
        delta.copy_(geometry.project(moved, self.epsilon))
        return loss.detach()


class Perturbation(nn.Module):
    """delta: (N, C, H, W), of the places of a batch; 0 at first."""

    delta: Tensor

    def __init__(self, batch: Tensor) -> None:
        super().__init__()
        self.register_buffer("delta", torch.zeros_like(batch))
