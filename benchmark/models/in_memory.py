"""A network that a caller of `benchmark.evaluate` holds in memory."""

import copy

import torch
from torch import nn

from benchmark.models.adapted import Adapted, feature_layer
from benchmark.models.classifier import Architecture, Classifier, InputInfo
from benchmark.models.network_identity import network_identity
from benchmark.spec import SpecError

_HELD: dict[str, nn.Module] = {}
"""Identity -> network, of this process: a trial gets a copy, and its weights out of the store."""


class InMemory(Architecture):
    """Computes in float32. Only the process that holds the network can run its trials; the others show their results.

    network_class: its name, for people. sha256: of what it computes but for its weights, see `network_identity`.
    """

    SOURCE = "the caller's own, by `benchmark.evaluate`"
    network_class: str
    sha256: str

    def network(self, info: InputInfo) -> Classifier:
        held = _HELD.get(self.sha256)
        if held is None:
            raise SpecError(
                f"in_memory: this process holds no {self.network_class} that computes as the one that was evaluated; "
                "allowed: benchmark.evaluate(model, ...), or a registered architecture"
            )
        return Adapted(info.unnormalised(), lambda: copy.deepcopy(held))


def hold(network: nn.Module) -> InMemory:
    """Keep a copy of a network, on the CPU, in eval mode and float32, so that trials of this process find it.

    Raises SpecError, in one line, for a network that cannot be copied, has no features, or whose content cannot be
    read.
    """
    network = getattr(network, "_orig_mod", network)  # under torch.compile
    name = type(network).__name__
    identity = network_identity(network)
    if identity not in _HELD:
        try:
            copied = copy.deepcopy(network)
        except Exception as error:  # of whatever class its parts are
            raise SpecError(f"model: {name} cannot be copied: {' '.join(str(error).split())[:200]}") from error
        own = copied.to("cpu", torch.float32).eval().requires_grad_(False)
        try:
            feature_layer(own)
        except ValueError as error:
            raise SpecError(f"model: {error}") from error
        _HELD[identity] = own
    return InMemory(network_class=name, sha256=identity)
