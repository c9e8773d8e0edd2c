"""What a membership attack is given: what the models say of every image, and whose training data it knows."""

from typing import NamedTuple

import torch
from torch import Tensor


class Signals(NamedTuple):
    """What one model says of the P private images, or what S models do, with S first.

    margins: (..., P, Q) float64 under Q queries, query 0 the image itself. adversarial: (..., P, Qa) of adversarial
    versions, Qa may be 0. auxiliary: (..., A, Q) of images that are in no model's training data.
    """

    margins: Tensor
    adversarial: Tensor
    auxiliary: Tensor

    def of(self, models: Tensor | int) -> "Signals":
        """What these of the S models say. models: (S,) bool, or the number of one."""
        return Signals(*(part[models] for part in self))


class Shadows(NamedTuple):
    """S models whose training data the attacker knows; neither the target nor its mate is among them.

    trained_on, never_seen: (S, P) bool: members; images that are neither members nor near-duplicates of one.
    pair: (S,) int64: models with equal numbers are complements.
    """

    signals: Signals
    trained_on: Tensor
    never_seen: Tensor
    pair: Tensor

    def without(self, pair: int) -> "Shadows":
        """The shadows of the other pairs."""
        kept = self.pair != pair
        return Shadows(self.signals.of(kept), self.trained_on[kept], self.never_seen[kept], self.pair[kept])


class Images(NamedTuple):
    """Of the P private and A auxiliary images: labels (P,), (A,) int64; features (P, K), (A, K) float32 of a judge.

    An attack without `needs_features` gets the private images' labels alone: K is 0, and of auxiliary images none.
    """

    labels: Tensor
    features: Tensor
    auxiliary_labels: Tensor
    auxiliary_features: Tensor


def margins(logits: Tensor, labels: Tensor) -> Tensor:
    """z_y - logsumexp of the other logits, (N,) float64: the log of the odds that the model gives the label.

    logits: (N, K), K > 1. labels: (N,). Carlini et al. 2022 (arXiv 2112.03570, Sec. IV-C) scale confidences so, which
    keeps apart what a softmax rounds to 1. The cross-entropy is log(1 + exp(-margin)).
    """
    z = logits.double()
    own = z.gather(1, labels[:, None])[:, 0]
    others = z.scatter(1, labels[:, None], -torch.inf)
    return own - others.logsumexp(1)
