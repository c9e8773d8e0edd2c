"""`benchmark.attack`: evasion of any network that the caller holds in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from benchmark.evasion.attack import Evasion
from benchmark.interface.given_images import check_images, check_labels
from benchmark.interface.given_network import check_gradient, given_network
from benchmark.interface.method import name_of, parsed, seeded, whole
from benchmark.interface.progress_bar import progress_bar
from benchmark.stages.shared.judged_attack import evaded
from benchmark.stats import Interval, clopper_pearson


@dataclass(frozen=True, repr=False, eq=False)
class AttackResult:
    """What became of N images, on the device that they came from.

    images: (N, C, H, W) float32 in [0, 1], perturbed; those that were misclassified before are unchanged.
    clean_correct: (N,) bool, classified right before the attack. robust: (N,) bool, right before and under it.
    distance, loss: (N,) of the perturbed images: the norm of the change, and the cross-entropy.
    attack: the method with its settings.
    """

    attack: Evasion
    images: Tensor
    clean_correct: Tensor
    robust: Tensor
    distance: Tensor
    loss: Tensor

    @property
    def success(self) -> Tensor:
        """(N,) bool: right before the attack, and no longer."""
        return self.clean_correct & ~self.robust

    @property
    def robust_accuracy(self) -> float:
        """Share of all images that are right under the attack."""
        return self.robust_accuracy_interval.value

    @property
    def robust_accuracy_interval(self) -> Interval:
        """With its exact 95% interval (Clopper and Pearson 1934): value, low, high, n."""
        return clopper_pearson(int(self.robust.sum()), len(self.robust))

    @property
    def clean_accuracy(self) -> float:
        """Share of all images that were right before."""
        return self.clean_accuracy_interval.value

    @property
    def clean_accuracy_interval(self) -> Interval:
        """With its exact 95% interval."""
        return clopper_pearson(int(self.clean_correct.sum()), len(self.clean_correct))

    def __repr__(self) -> str:
        rate, name = self.robust_accuracy_interval, name_of("evasion", self.attack)
        return (
            f"AttackResult({name}, {self.attack.norm}, epsilon {self.attack.epsilon:.4g}, {rate.n} images: "
            f"robust accuracy {rate.value:.3f} [{rate.low:.3f}, {rate.high:.3f}], clean {self.clean_accuracy:.3f})"
        )


def attack(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    method: str | Evasion = "pgd",
    *,
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
    value_range: tuple[float, float] | None = None,
    batch_size: int = 250,
    seed: int = 0,
    progress: bool | None = None,
    **settings: Any,
) -> AttackResult:
    """Perturb images so that the model misclassifies them; the same numbers as a suite's.

    model: any network in eval mode with images in and logits (N, K) out, on any device; it is left as it is.
    images: (N, C, H, W), float in [0, 1] or uint8, not normalised. labels: (N,) whole numbers, the true classes.
    method: a registered name, with its `settings` (`norm="linf"`, `epsilon=8/255`, `steps=20`; `bench list` and
    docs/SUITES.md have them), or an Evasion with settings of its own.
    mean, std: the network takes (x - mean) / std of pixels x in [0, 1]; a number, or one a channel. value_range: or
    it takes pixels in (low, high), such as (-1, 1) or (0, 255). epsilon is in units of [0, 1] pixels in every case.
    batch_size: images at once; it changes random starts. seed: of the random starts.
    progress: show a bar; None: in a notebook.

    Raises SpecError, in one line, for input that is not as said here, and FloatingPointError for logits or gradients
    that are NaN or infinite.
    """
    chosen = cast(Evasion, parsed("evasion", method, settings))
    name, generator = name_of("evasion", chosen), seeded(seed)
    whole("batch_size", batch_size, least=1)
    check_images(images)
    with torch.inference_mode(False), torch.enable_grad():
        _, channels, height, width = images.shape
        given = given_network(model, (channels, height, width), mean, std, value_range)
        check_labels(labels, len(images), given.num_classes)
        if chosen.KIND != "black_box":
            check_gradient(given)
        pixels = (images if images.dtype == torch.uint8 else images.float()).detach().clone()
        classes = labels.long().clone()
        parts: list[tuple[Tensor, ...]] = []
        with progress_bar(name, len(images), "images", progress) as advance:
            for batch in evaded(
                chosen, f"evasion {name!r}", given, pixels, classes, generator, batch_size, given.device
            ):
                outcome = (batch.images, batch.clean, batch.robust, batch.distance, batch.loss)
                parts.append(tuple(tensor.detach().to(images.device) for tensor in outcome))
                advance(len(batch.images))
    perturbed, *others = (torch.cat(part) for part in zip(*parts, strict=True))
    return AttackResult(chosen, perturbed.contiguous(), *others)
