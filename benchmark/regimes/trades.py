"""TRADES: a trade-off between accuracy and robustness that one number sets."""

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from benchmark.evasion.pgd import perturb_for_training
from benchmark.machine.copies import sent
from benchmark.regimes.pgd_at import PGDAdversarialTraining
from benchmark.regimes.regime import Network
from benchmark.spec import Fraction

_START_STD = 0.001
"""Of the noise that the attack starts from: at the clean image itself the divergence has no gradient."""


class TRADES(PGDAdversarialTraining):
    """Cross-entropy of clean images, plus `beta` times KL(clean || adversarial) of the predicted probabilities.

    The adversarial images raise that divergence, from Gaussian noise about the clean ones, as in the authors' code.
    As theirs, the attack sees the network in eval mode; the two passes of the loss then are in training mode, each
    with its own batch statistics. Differs: 2.5 epsilon / steps a step where `step_size` is None (theirs is 2.3).
    """

    SOURCE = "Zhang et al. 2019, Theoretically Principled Trade-off between Robustness and Accuracy, arXiv 1901.08573"
    TOLD = ("norm", "epsilon")
    TOLD_IF_SET = ("beta",)
    NUM_LOSS_PASSES = 2
    steps: int = Field(default=10, ge=1, le=10_000)
    beta: Fraction = Field(default=6.0, ge=0, le=1_000_000)

    @property
    def passes_per_image(self) -> float:
        """Those of the attack and of the loss, and a third: forward alone, for the probabilities to move away from."""
        return self.epochs * (self.steps + self.loss_passes + 1 / 3)

    def attack(
        self,
        network: Network,
        clean: Tensor,
        labels: Tensor,
        epsilon: float,
        step_size: float,
        generator: torch.Generator,
    ) -> Tensor:
        with torch.no_grad():
            aim = network(clean)
        start = clean + _START_STD * sent(torch.randn(clean.shape, generator=generator), clean.device)
        return perturb_for_training(
            network, clean, labels, self.norm, epsilon, self.steps, step_size, generator,
            start=start, losses=lambda logits, _: divergence(aim, logits),
        )  # fmt: skip

    def loss(self, network: Network, clean: Tensor, perturbed: Tensor, labels: Tensor) -> Tensor:
        logits = network(clean).float()
        return functional.cross_entropy(logits, labels) + self.beta * divergence(logits, network(perturbed)).mean()


def divergence(logits: Tensor, others: Tensor) -> Tensor:
    """KL(softmax(logits) || softmax(others)) of each row, (N, K), (N, K) -> (N,), in float32."""
    own, other = logits.float().log_softmax(1), others.float().log_softmax(1)
    return (own.exp() * (own - other)).sum(1)
