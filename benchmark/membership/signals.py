"""What membership attacks are given: the answers of the target and of its shadow models, and the images asked about."""

from typing import NamedTuple

from torch import Tensor


class Signals(NamedTuple):
    """What one model says of the P private images, or what S models do, with S first.

    margins: (..., P, Q) float64 under Q queries, query 0 the image itself. adversarial: (..., P, Qa) of adversarial
    versions, Qa may be 0. auxiliary: (..., A, Q) of images that are in no model's training data.
    """

    margins: Tensor
    adversarial: Tensor
    auxiliary: Tensor


class Shadows(NamedTuple):
    """S models whose training data the attacker knows; neither the target nor its mate is among them.

    trained_on, never_seen: (S, P) bool: members; images that are neither members nor near-duplicates of one.
    pair: (S,) int64: models with equal numbers are complements.
    """

    signals: Signals
    trained_on: Tensor
    never_seen: Tensor
    pair: Tensor


class Images(NamedTuple):
    """Of the P private and A auxiliary images: labels (P,), (A,) int64; features (P, K), (A, K) float32."""

    labels: Tensor
    features: Tensor
    auxiliary_labels: Tensor
    auxiliary_features: Tensor
