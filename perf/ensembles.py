"""AutoAttack by several implementations behind one call, each counted: passes forward, passes backward.

A library is imported where it is used: each contender's process loads its own alone.
"""

import importlib.util
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmark import registry
from benchmark.evasion.pooled import PooledEvasion

STEPS = 100
"""Of APGD and FAB, in the standard version."""


class Passes(nn.Module):
    """Passes on to a network and counts the images that go through it, forward and back."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.forward_images, self.backward_images = network, 0, 0

    def forward(self, x: Tensor) -> Tensor:
        self.forward_images += len(x)
        logits: Tensor = self.network(x)
        if logits.requires_grad:
            logits.register_hook(self._came_back)
        return logits

    def _came_back(self, gradient: Tensor) -> None:
        self.backward_images += len(gradient)


@dataclass(frozen=True)
class Threat:
    """What all contenders get. norm: "linf" or "l2". original: folder that holds the package `autoattack`, or None."""

    norm: str
    epsilon: float
    images: Tensor
    labels: Tensor
    num_classes: int
    batch_size: int
    original: Path | None = None

    @property
    def their_norm(self) -> str:
        return {"linf": "Linf", "l2": "L2"}[self.norm]

    def by_batch(self, attack: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        batches = zip(self.images.split(self.batch_size), self.labels.split(self.batch_size), strict=True)
        return torch.cat([attack(x, y).detach() for x, y in batches])


@dataclass(frozen=True)
class Attacked:
    """images: (N, C, H, W). forward, backward: images that went through the network, each way."""

    images: Tensor
    forward: int
    backward: int


def ours(model: nn.Module, threat: Threat, screen: bool) -> Tensor:
    settings = {"method": "autoattack", "norm": threat.norm, "epsilon": threat.epsilon, "screen": screen}
    attack = registry.parse("evasion", settings)
    assert isinstance(attack, PooledEvasion)
    generator = torch.Generator().manual_seed(0)
    return attack.perturb_pool(model, threat.images, threat.labels, generator, threat.batch_size).images


def with_original(model: nn.Module, threat: Threat) -> Tensor:
    """The authors' own code, from `threat.original`."""
    sys.path.insert(0, str(threat.original))
    from autoattack import AutoAttack

    attack = AutoAttack(
        model, norm=threat.their_norm, eps=threat.epsilon, version="standard", seed=0, device="cpu", verbose=False
    )
    found: Tensor = attack.run_standard_evaluation(threat.images, threat.labels, bs=threat.batch_size)
    return found


def with_torchattacks(model: nn.Module, threat: Threat, steps: int | None) -> Tensor:
    """As installed its version "standard" takes 10 steps of APGD and FAB, not 100; steps: what it is told to take."""
    import torchattacks

    attack = torchattacks.AutoAttack(
        model, norm=threat.their_norm, eps=threat.epsilon, version="standard", n_classes=threat.num_classes, seed=0
    )
    for part in attack._autoattack.attacks:
        if steps is not None and hasattr(part, "steps"):
            part.steps = steps
    return threat.by_batch(attack)


def with_adv_lib(model: nn.Module, threat: Threat) -> Tensor:
    """APGD on cross-entropy, targeted APGD and targeted FAB in that order; it has no Square attack of its own."""
    # It draws progress, which nobody asks for, and no longer builds.
    if "visdom" not in sys.modules and not importlib.util.find_spec("visdom"):
        sys.modules["visdom"] = types.ModuleType("visdom")
        sys.modules["visdom"].Visdom = object  # type: ignore[attr-defined]
    from adv_lib.attacks import apgd, apgd_targeted, fab

    norm = {"linf": float("inf"), "l2": 2.0}[threat.norm]
    torch.manual_seed(0)

    def nearest(x: Tensor, y: Tensor) -> Tensor:
        found = fab(model, x, y, norm=norm, n_iter=STEPS, restarts=9, targeted_restarts=True)
        delta = (found - x).flatten(1)
        inside = torch.linalg.vector_norm(delta, ord=norm, dim=1) <= threat.epsilon
        return torch.where(inside.view(-1, 1, 1, 1), found, x)

    parts: list[Callable[[Tensor, Tensor], Tensor]] = [
        lambda x, y: apgd(model, x, y, eps=threat.epsilon, norm=norm, n_iter=STEPS, loss_function="ce"),
        lambda x, y: apgd_targeted(model, x, y, eps=threat.epsilon, norm=norm, n_iter=STEPS, num_targets=9),
        nearest,
    ]

    def one_after_the_other(x: Tensor, y: Tensor) -> Tensor:
        found = x.clone()
        for part in parts:
            with torch.no_grad():
                stands = (model(found).argmax(1) == y).nonzero().flatten()
            if len(stands):
                found[stands] = part(x[stands], y[stands]).detach()
        return found

    return threat.by_batch(one_after_the_other)


SCREENED, UNSCREENED, ORIGINAL = "this project, screened", "this project", "the original"
OURS = (SCREENED, UNSCREENED)
CONTENDERS: dict[str, Callable[[nn.Module, Threat], Tensor]] = {
    SCREENED: lambda model, threat: ours(model, threat, screen=True),
    UNSCREENED: lambda model, threat: ours(model, threat, screen=False),
    ORIGINAL: with_original,
    "torchattacks, told 100 steps": lambda model, threat: with_torchattacks(model, threat, STEPS),
    "torchattacks as installed (10 steps)": lambda model, threat: with_torchattacks(model, threat, None),
    "adv-lib (no Square)": with_adv_lib,
}


def attack_all(name: str, model: nn.Module, threat: Threat) -> Attacked:
    """By the contender of this name, which gets the network as a user would hand it over: ours freezes it, others may.

    Counts are taken of the network as each contender calls it.
    """
    counting = Passes(model).eval()
    images = CONTENDERS[name](counting, threat)
    return Attacked(images, counting.forward_images, counting.backward_images)
