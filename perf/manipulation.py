"""Class-targeted descent on the input: our inversion, and MadryLab's `robustness` input manipulation."""

import types

import torch
from torch import Tensor, nn

from benchmark.inversion.attack import Victim
from benchmark.inversion.gradient import GradientInversion

STEPS, STEP_SIZE, RADIUS = 50, 0.5, 40.0
"""Of both: l2 steps of this length from a start of their own, in an l2 ball of this radius and in [0, 1]."""


def ours(model: nn.Module, shape: tuple[int, int, int], num_classes: int, samples_per_class: int) -> Tensor:
    attack = GradientInversion(
        steps=STEPS, step_size=STEP_SIZE, schedule="constant", radius=RADIUS, samples_per_class=samples_per_class
    )
    nothing = (torch.empty(0, *shape), torch.empty(0))
    victim = Victim(model, shape, num_classes, torch.device("cpu"), nothing, nothing, nothing)
    return attack.reconstruct(victim, torch.Generator().manual_seed(0))


def with_robustness(model: nn.Module, shape: tuple[int, int, int], num_classes: int, samples_per_class: int) -> Tensor:
    """Its `Attacker` with the settings of its input-manipulation examples; the last image, as ours, not the best.

    The library moves its tensors to a GPU unasked; where there is none, `.cuda()` is made to leave them where they are.
    """
    from robustness.attacker import Attacker

    if not torch.cuda.is_available():
        torch.Tensor.cuda = lambda self, *_, **__: self  # type: ignore[method-assign]
    unit = types.SimpleNamespace(mean=torch.zeros(1), std=torch.ones(1))  # the model normalises by itself
    attacker = Attacker(_Wrapped(model), unit)
    targets = torch.arange(num_classes).repeat_interleave(samples_per_class)
    start = 0.5 + 0.1 * torch.randn(len(targets), *shape, generator=torch.Generator().manual_seed(0))
    return attacker(
        start.clamp(0, 1), targets, constraint="2", eps=RADIUS, step_size=STEP_SIZE, iterations=STEPS, targeted=True,
        use_best=False,
    )  # fmt: skip


class _Wrapped(nn.Module):
    """Takes the arguments that the library's own models take."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, **_: object) -> Tensor:
        return self.model(images)
