"""Four implementations of PGD behind one call. Each gets the same model, images and settings.

A library is imported where it is used: each contender's process loads its own alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.evasion.attack import frozen
from benchmark.evasion.pgd import PGD

Attack = Callable[[Tensor, Tensor], Tensor]
"""(N, C, H, W) in [0, 1] and (N,) labels -> adversarial images."""


@dataclass(frozen=True)
class Ball:
    """norm: "linf" or "l2". epsilon, step_size: pixel units. Every contender starts at random."""

    norm: str
    epsilon: float
    steps: int = 20

    @property
    def step_size(self) -> float:
        return 2.5 * self.epsilon / self.steps


def ours(model: nn.Module, ball: Ball, num_classes: int) -> Attack:
    method = PGD(norm=ball.norm, epsilon=ball.epsilon, steps=ball.steps, step_size=ball.step_size)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(0)
    return lambda x, y: method.perturb(model, x, y, generator).images


def with_torchattacks(model: nn.Module, ball: Ball, num_classes: int) -> Attack:
    import torchattacks

    kind = {"linf": torchattacks.PGD, "l2": torchattacks.PGDL2}[ball.norm]
    return kind(model, eps=ball.epsilon, alpha=ball.step_size, steps=ball.steps, random_start=True)


def with_foolbox(model: nn.Module, ball: Ball, num_classes: int) -> Attack:
    """`run` is the attack alone; a plain call would judge the result in one more pass."""
    import foolbox

    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    kind = {"linf": foolbox.attacks.LinfPGD, "l2": foolbox.attacks.L2PGD}[ball.norm]
    attack = kind(abs_stepsize=ball.step_size, steps=ball.steps, random_start=True)
    return lambda x, y: attack.run(wrapped, x, y, epsilon=ball.epsilon)


def with_art(model: nn.Module, ball: Ball, num_classes: int) -> Attack:
    from art.attacks.evasion import ProjectedGradientDescent
    from art.estimators.classification import PyTorchClassifier

    def attack(x: Tensor, y: Tensor) -> Tensor:
        wrapped = PyTorchClassifier(
            model, nn.CrossEntropyLoss(), x.shape[1:], num_classes, clip_values=(0, 1), device_type="cpu"
        )
        method = ProjectedGradientDescent(
            wrapped,
            norm={"linf": np.inf, "l2": 2}[ball.norm],
            eps=ball.epsilon,
            eps_step=ball.step_size,
            max_iter=ball.steps,
            num_random_init=1,
            batch_size=len(x),
            verbose=False,
        )
        return torch.from_numpy(method.generate(x.numpy(), y.numpy()))

    return attack


CONTENDERS: dict[str, Callable[[nn.Module, Ball, int], Attack]] = {
    "this project": ours,
    "torchattacks": with_torchattacks,
    "foolbox": with_foolbox,
    "ART": with_art,
}


def attack_all(
    name: str, model: nn.Module, ball: Ball, num_classes: int, images: Tensor, labels: Tensor, batch_size: int
) -> Tensor:
    """Adversarial images of a contender. Frozen for everyone: two would compute and drop the weights' gradients."""
    with frozen(model):
        attack = CONTENDERS[name](model, ball, num_classes)
        batches = zip(images.split(batch_size), labels.split(batch_size), strict=True)
        return torch.cat([attack(x, y).detach() for x, y in batches])
