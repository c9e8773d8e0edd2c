"""Any architecture with group norms in place of its batch norms."""

import math
from typing import cast

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from benchmark.models.adapted import Adapted
from benchmark.models.classifier import Architecture, Classifier, InputInfo
from benchmark.registry import ArchitectureField


class GroupNormed(Architecture):
    """The network `of`, with each batch norm replaced by a group norm: an image's logits then are its own in training.

    A batch norm of C channels becomes a group norm of gcd(32, C) groups, affine where it was: what Opacus's validator
    advises for training with differential privacy. Of 16 channels each is a group of its own.
    """

    SOURCE = "Wu and He 2018, Group Normalization, arXiv 1803.08494; groups as Opacus 1.6"
    of: ArchitectureField

    def network(self, info: InputInfo) -> Classifier:
        model = cast(Architecture, self.of).network(info)
        model.num_replaced = replace_batch_norms(model)
        if isinstance(model, Adapted):
            model.remade(replace_batch_norms)
        return model


def num_batch_norms(network: nn.Module) -> int:
    return sum(isinstance(layer, _BatchNorm) for layer in network.modules())


def replace_batch_norms(network: nn.Module) -> int:
    """Replace, in place, each batch norm below `network` by a fresh group norm; returns how many there were."""
    found = 0
    for owner in list(network.modules()):
        for name, layer in list(owner.named_children()):
            if isinstance(layer, _BatchNorm):
                channels = layer.num_features
                setattr(owner, name, nn.GroupNorm(math.gcd(32, channels), channels, affine=layer.affine))
                found += 1
    return found
