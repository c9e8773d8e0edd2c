"""MART: adversarial training that minds most the images that the model gets wrong."""

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from benchmark.regimes.pgd_at import PGDAdversarialTraining
from benchmark.regimes.regime import Network
from benchmark.regimes.trades import divergence
from benchmark.spec import Fraction

_BOUND = 1.0001
"""As in the authors' code: log(1 - p) has no bound at p = 1."""


class MART(PGDAdversarialTraining):
    """Boosted cross-entropy of adversarial images, plus `beta` times KL(clean || adversarial), weighted by 1 - p_y.

    beta: lambda in the paper. The boosted cross-entropy is -log p_y - log(1 - largest other p), of the adversarial
    image; p_y of the weight is that of the clean image. The adversarial images raise the cross-entropy, as those of
    `pgd_at`, from a random point of the ball. As the authors' attack ours sees the network in eval mode, and the
    weights have a gradient, too. Differs: 2.5 epsilon / steps a step where `step_size` is None (theirs is epsilon / 4).
    """

    SOURCE = "Wang et al. 2020, Improving Adversarial Robustness Requires Revisiting Misclassified Examples, ICLR"
    TOLD = ("norm", "epsilon")
    TOLD_IF_SET = ("beta",)
    NUM_LOSS_PASSES = 2
    steps: int = Field(default=10, ge=1, le=10_000)
    beta: Fraction = Field(default=5.0, ge=0, le=1_000_000)

    def loss(self, network: Network, clean: Tensor, perturbed: Tensor, labels: Tensor) -> Tensor:
        logits, moved = network(clean).float(), network(perturbed).float()
        right = logits.softmax(1).gather(1, labels[:, None])[:, 0]
        return (boosted_cross_entropy(moved, labels) + self.beta * divergence(logits, moved) * (1 - right)).mean()


def boosted_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """(N, K) logits, (N,) labels -> (N,): cross-entropy, and how sure the model is of the likeliest wrong class."""
    wrong = logits.softmax(1).scatter(1, labels[:, None], 0).amax(1)
    return functional.cross_entropy(logits, labels, reduction="none") - torch.log(_BOUND - wrong)
