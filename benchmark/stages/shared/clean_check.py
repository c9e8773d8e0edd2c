"""Checks the clean accuracy of a model that was trained elsewhere, which shows if its images are normalised wrongly."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Generator, Tensor

from benchmark.models.classifier import Classifier, InputInfo
from benchmark.stages.shared.inputs import apply
from benchmark.stats import clopper_pearson, newcombe_difference

TOLERANCE = 0.02
"""A declared accuracy may differ by this much, whatever the number of images: it was measured on others."""
_CLEARLY = 0.1
"""Better by more than this, and surely: the sign of a misreading where no accuracy is declared."""
_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Reading:
    """One way to read the model. how: what to write into the suite. right: of n images."""

    how: str
    right: int
    n: int

    @property
    def accuracy(self) -> float:
        return self.right / self.n


def normalise_with(model: Classifier, mean: Sequence[float], std: Sequence[float]) -> None:
    """Set the constants, a number a channel, with which a model normalises pixels in [0, 1]."""
    for buffer, values in ((model.mean, mean), (model.std, std)):
        buffer.copy_(torch.tensor(values).view_as(buffer))


def check_clean_accuracy(
    model: Classifier,
    images: Tensor,
    labels: Tensor,
    info: InputInfo,
    declared: float | None,
    device: torch.device,
    generator: Generator,
) -> Tensor:
    """Check the accuracy on clean images. Returns (N,) bool: which images the model has right.

    images: (N, C, H, W) uint8 and labels: (N,), clean. declared: its accuracy on such images. generator: draws the
    half of them on which an order of the classes is guessed; the other half judges the guess.

    Raises FloatingPointError if it gives NaN or infinity for any of them.
    Raises ValueError, in one line, if the accuracy is not as declared (outside its 95% interval and off by more than
    2 points) or, where none is declared, no better than chance, or clearly worse than with another of the usual
    normalisations or with another order of the classes. The line names what reads the model best.
    """
    predicted = apply(model, images, device).argmax(1)
    own = Reading(f"normalisation {_written(model)}", int((predicted == labels).sum()), len(labels))
    chance = float(labels.bincount().max()) / len(labels)
    if declared is not None and _as_declared(own, declared):
        return predicted == labels
    others = [_permuted(predicted, labels, info.num_classes, generator)]
    others += _normalised(model, images, labels, info, device)
    best = min(others, key=lambda other: _distance(other, declared))
    if declared is None and _above(own, chance) and not _clearly_better(best, own):
        return predicted == labels
    raise ValueError(_verdict(own, best, declared, chance))


def _normalised(
    model: Classifier, images: Tensor, labels: Tensor, info: InputInfo, device: torch.device
) -> list[Reading]:
    """The model with the other usual normalisations; its own is put back."""
    mine = [buffer.flatten().tolist() for buffer in (model.mean, model.std)]
    found = []
    for how, constants in _usual(info).items():
        if torch.allclose(torch.tensor(constants), torch.tensor(mine), atol=1e-4):
            continue
        normalise_with(model, *constants)
        with contextlib.suppress(FloatingPointError):  # this one cannot be meant
            right = int((apply(model, images, device).argmax(1) == labels).sum())
            found.append(Reading(how, right, len(labels)))
    normalise_with(model, *mine)
    return found


def _usual(info: InputInfo) -> dict[str, tuple[Sequence[float], Sequence[float]]]:
    """What to write -> (mean, std)."""
    c = info.channels
    found: dict[str, tuple[Sequence[float], Sequence[float]]] = {
        "normalisation: none": ([0.0] * c, [1.0] * c),
        "normalisation: data": (info.mean, info.std),
        f"normalisation: {{mean: {[0.5] * c}, std: {[0.5] * c}}} (pixels in [-1, 1])": ([0.5] * c, [0.5] * c),
        f"normalisation: {{mean: {[0.0] * c}, std: {['1/255'] * c}}} (pixels in [0, 255])": ([0.0] * c, [1 / 255] * c),
    }
    if c == len(_IMAGENET[0]):
        mean, std = (list(values) for values in _IMAGENET)
        found[f"normalisation: {{mean: {mean}, std: {std}}} (ImageNet's)"] = _IMAGENET
    return found


def _permuted(predicted: Tensor, labels: Tensor, num_classes: int, generator: Generator) -> Reading:
    """The model with its outputs in the order that suits one half of the images best, judged on the other half."""
    order = torch.randperm(len(labels), generator=generator)
    first, second = order[: len(order) // 2], order[len(order) // 2 :]
    pairs = (predicted[first] * num_classes + labels[first]).bincount(minlength=num_classes**2)
    _, meant = linear_sum_assignment(pairs.view(num_classes, num_classes).numpy(), maximize=True)
    right = int((torch.from_numpy(meant)[predicted[second]] == labels[second]).sum())
    moved = [f"{i} for {c}" for i, c in enumerate(meant.tolist()) if i != c]
    shown = ", ".join(moved[:4]) + (", ..." if len(moved) > 4 else "")
    return Reading(f"outputs in another order of the classes ({shown or 'none was found'})", right, len(second))


def _as_declared(reading: Reading, declared: float) -> bool:
    rate = clopper_pearson(reading.right, reading.n)
    return rate.low <= declared <= rate.high or abs(rate.value - declared) <= TOLERANCE


def _above(reading: Reading, chance: float) -> bool:
    return clopper_pearson(reading.right, reading.n).low > chance


def _clearly_better(other: Reading, own: Reading) -> bool:
    return newcombe_difference(other.right, other.n, own.right, own.n).low > _CLEARLY


def _distance(reading: Reading, declared: float | None) -> float:
    return abs(reading.accuracy - declared) if declared is not None else -reading.accuracy


def _verdict(own: Reading, best: Reading, declared: float | None, chance: float) -> str:
    wanted = f"chance is {chance:.3f}" if declared is None else f"declared is {declared:.3f}"
    text = f"checkpoint: clean accuracy is {own.accuracy:.3f} on {own.n} test images with {own.how}; {wanted}"
    if declared is None and _above(own, chance):
        text += f", and {best.how} gives {best.accuracy:.3f}; write that, or declare clean_accuracy if it is meant so"
    elif _above(best, chance) and (declared is None or _as_declared(best, declared)):
        text += f"; {best.how} gives {best.accuracy:.3f}"
    else:
        text += (
            f"; of other normalisations and orders of the classes the best, {best.how}, gives {best.accuracy:.3f}: "
            "is this the right file, architecture and data set?"
        )
    return f"{text}; nothing else was measured on it"


def _written(model: Classifier) -> str:
    mean, std = ([round(v, 4) for v in buffer.flatten().tolist()] for buffer in (model.mean, model.std))
    return f"{{mean: {mean}, std: {std}}}"
