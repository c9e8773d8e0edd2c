"""Run an attack and judge its result anew: the attack's own word is not taken."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmark.evasion.attack import Evasion, Perturbed, cross_entropies
from benchmark.evasion.attack import checked as checked_perturbed
from benchmark.evasion.norms import NORMS
from benchmark.evasion.pooled import PooledEvasion
from benchmark.inversion.attack import Inversion, Passes, Victim, counted
from benchmark.inversion.attack import checked as checked_images
from benchmark.regimes.regime import to_float
from benchmark.stages.shared.inputs import apply
from benchmark.stages.shared.outputs import finite

ROUNDING = 1e-5
"""Rounding of x + delta - x in float32."""


@dataclass(frozen=True)
class Evaded:
    """A batch of N images under attack, on the model's device.

    images: (N, C, H, W) in the ball and in [0, 1]. clean, robust: (N,) bool, right before the attack, and also under
    it. distance, loss: (N,) of the perturbed images. curve: (steps,) mean loss on the way, on the CPU. by_black_box:
    (N,) bool, fooled by the black-box part of an ensemble alone; None where the attack has none.
    """

    images: Tensor
    clean: Tensor
    robust: Tensor
    distance: Tensor
    loss: Tensor
    curve: Tensor
    by_black_box: Tensor | None = None


def evaded(
    attack: Evasion,
    name: str,
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    generator: torch.Generator,
    batch_size: int,
    device: torch.device,
) -> Iterator[Evaded]:
    """Attack in batches.

    name: of the attack, for messages: "evasion 'mine'". model: in eval mode, on `device`. images: (N, C, H, W),
    uint8 or float in [0, 1]. labels: (N,). Raises FloatingPointError for results or logits that are NaN or infinite,
    ValueError for images outside the ball or [0, 1], SpecError for what is no `Perturbed` of them.
    """
    for x, y, found in _perturbed(attack, name, model, images, labels, generator, batch_size, device):
        if not bool(found.images.isfinite().all()):
            raise FloatingPointError(f"{name}: images hold NaN; are the network's gradients numbers?")
        distance = NORMS[attack.norm].size(found.images - x)
        if bool((distance > attack.epsilon + ROUNDING).any()) or not _in_box(found.images):
            largest = float(distance.max())
            raise ValueError(
                f"{name} left its ball or [0, 1]: largest distance {largest:.6g}; allowed: {attack.epsilon:.6g}"
            )
        with torch.no_grad():
            clean, logits = finite(model(x)).argmax(1) == y, finite(model(found.images))
        robust = clean & (logits.argmax(1) == y)
        loss = cross_entropies(logits, y)
        alone = None if found.by_black_box is None else found.by_black_box & clean & ~robust
        yield Evaded(found.images, clean, robust, distance, loss, found.loss, alone)


def _perturbed(
    attack: Evasion,
    name: str,
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    generator: torch.Generator,
    batch_size: int,
    device: torch.device,
) -> Iterator[tuple[Tensor, Tensor, Perturbed]]:
    """Images, labels and what the attack made of them, in batches. An attack that pools gets all images at once."""
    at_once = max(1, len(images)) if isinstance(attack, PooledEvasion) else batch_size
    for pixels, classes in zip(images.split(at_once), labels.split(at_once), strict=True):
        x, y = pixels.to(device), classes.to(device)
        x = to_float(x) if x.dtype == torch.uint8 else x.contiguous(memory_format=torch.channels_last)
        if isinstance(attack, PooledEvasion):
            found = checked_perturbed(attack.perturb_pool(model, x, y, generator, batch_size), x, name)
        else:
            found = checked_perturbed(attack.perturb(model, x, y, generator), x, name)
        for begin in range(0, max(1, len(x)), batch_size):
            part = slice(begin, begin + batch_size)
            alone = None if found.by_black_box is None else found.by_black_box[part]
            yield x[part], y[part], Perturbed(found.images[part], found.loss, alone)


def _in_box(images: Tensor) -> bool:
    return bool((images >= 0).all()) and bool((images <= 1).all())


@dataclass(frozen=True)
class Inverted:
    """images: (N, C, H, W) in [0, 1], targets: (N,), confidence: (N,) softmax of the target; passes: what it cost."""

    images: Tensor
    targets: Tensor
    confidence: Tensor
    passes: Passes


def inverted(attack: Inversion, name: str, victim: Victim, generator: torch.Generator) -> Inverted:
    """Make images of every class, and see how sure the model is of them.

    name: of the attack, for messages: "inversion 'mine'". Raises FloatingPointError if the images or the logits are NaN
    or infinite, SpecError if the attack returned anything else than images of its targets.
    """
    with counted(victim.model) as passes:
        made = attack.reconstruct(victim, generator)
    targets = attack.targets(victim.num_classes)
    count = attack.samples_per_class * victim.num_classes
    images = checked_images(made, targets, victim.shape, count, name)
    confidence = apply(victim.model, images, victim.device).softmax(1).gather(1, targets[:, None])[:, 0]
    return Inverted(images, targets, confidence, passes)
