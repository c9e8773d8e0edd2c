"""`benchmark.invert`: images from any network that the caller holds in memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from benchmark import registry
from benchmark.interface.given_images import check_images, check_labels
from benchmark.interface.given_network import GivenNetwork, Shape, check_gradient, given_network
from benchmark.interface.method import name_of, parsed, seeded, whole
from benchmark.interface.progress_bar import progress_bar
from benchmark.inversion.attack import Inversion, Victim
from benchmark.inversion.injected import Injected
from benchmark.spec import SpecError
from benchmark.stages.shared.judged_attack import inverted
from benchmark.trials import trial
from benchmark.user_files.users_code import described

Pool = tuple[Tensor, Tensor]


@dataclass(frozen=True, repr=False, eq=False)
class InversionResult:
    """N images that the model takes for their classes, on the CPU.

    images: (N, C, H, W) float32 in [0, 1]. targets: (N,) int64, grouped by class. confidences: (N,) the softmax
    probability that the model gives the target. attack: the method with its settings. remark: what a reader must know
    of this method on this model, "" for nothing. learned: what its prior learned from auxiliary images, to be given to
    further calls; empty for most.
    """

    attack: Inversion
    images: Tensor
    targets: Tensor
    confidences: Tensor
    remark: str = ""
    learned: Mapping[str, Tensor] = field(default_factory=dict)

    def __repr__(self) -> str:
        classes = len(self.targets.unique())
        mean, remark = float(self.confidences.double().mean()), self.remark and f"; {self.remark}"
        return (
            f"InversionResult({name_of('inversion', self.attack)}, {len(self.images)} images of {classes} classes: "
            f"mean confidence {mean:.3f}{remark})"
        )


def invert(
    model: nn.Module,
    num_classes: int,
    shape: Shape,
    method: str | Inversion = "gradient",
    *,
    num_per_class: int | None = None,
    targets: Sequence[int] | Tensor | None = None,
    auxiliary: Pool | None = None,
    learned: Mapping[str, Tensor] | None = None,
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
    value_range: tuple[float, float] | None = None,
    seed: int = 0,
    progress: bool | None = None,
    **settings: Any,
) -> InversionResult:
    """Make images of classes from the model alone; the same numbers as a suite's.

    model: any network in eval mode with images of shape (C, H, W) in and num_classes logits out, on any device; it is
    left as it is. method: a registered name, with its `settings` (`steps=200`, `step_size=0.5`; `bench list` and
    docs/SUITES.md have them), or an Inversion with settings of its own.
    num_per_class: images of each class; None: the method's default. targets: the classes, each once; None: all.
    auxiliary: (images, labels) of public data, (N, C, H, W) uint8 or float in [0, 1] and (N,), for methods that learn
    a prior (`generator`) or start from data (`start="class_gaussian"`). learned: `result.learned` of an earlier call
    for the same classes, which spares the training.
    mean, std, value_range: what the network takes, as in `attack`. seed: of all that is random.
    progress: show a bar; None: in a notebook.

    Raises SpecError, in one line, for input that is not as said here, and FloatingPointError for NaN or infinity.
    """
    if num_per_class is not None:
        settings["samples_per_class"] = whole("num_per_class", num_per_class, least=1)
    attack = cast(Inversion, parsed("inversion", method, settings))
    generator = seeded(seed)
    if isinstance(attack, Injected):
        raise SpecError(f"method: 'injected' is a control, no attack; allowed: {_others('injected')}")
    whole("num_classes", num_classes, least=2)
    classes = _classes(targets, num_classes)
    with torch.inference_mode(False), torch.enable_grad():
        given = given_network(model, _checked_shape(shape), mean, std, value_range, num_classes)
        if attack.passes:
            check_gradient(given)
        known = _known(auxiliary, given, classes)
        weights = _learned_prior(attack, learned, known, given, len(classes), seed)
        none = torch.empty(0, *shape, dtype=torch.uint8), torch.empty(0, dtype=torch.int64)
        network = given if targets is None else _InOrder(given, classes)
        victim = Victim(network, given.shape, len(classes), given.device, none, none, known or none, weights)
        name, total = name_of("inversion", attack), attack.passes * len(attack.targets(len(classes)))
        with progress_bar(name, total, "passes", progress) as advance:
            network.register_forward_hook(lambda _, __, logits: advance(len(logits) if logits.requires_grad else 0))
            found = inverted(attack, f"inversion {name!r}", victim, generator)
    order = torch.tensor(classes)
    return InversionResult(attack, found.images, order[found.targets], found.confidence, attack.remark(given), weights)


def _others(name: str) -> str:
    return ", ".join(sorted(registry.INVERSION.keys() - {"injected", name}))


class _InOrder(nn.Module):
    """The network with the logits of these classes first: an attack on so many classes makes images of just these.

    The probability of a class is as before, since the logits of the others come after them.
    """

    def __init__(self, network: GivenNetwork, classes: list[int]) -> None:
        super().__init__()
        self.network = network
        others = [c for c in range(network.num_classes) if c not in set(classes)]
        self.register_buffer("order", torch.tensor(classes + others, device=network.device))
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.network(images).index_select(1, cast(Tensor, self.order)))


def _classes(targets: Sequence[int] | Tensor | None, num_classes: int) -> list[int]:
    if targets is None:
        return list(range(num_classes))
    classes = targets.tolist() if isinstance(targets, Tensor) else list(targets)
    for target in classes:
        if not isinstance(target, int) or isinstance(target, bool) or not 0 <= target < num_classes:
            raise SpecError(f"targets: {target!r} is not allowed; allowed: classes 0 to {num_classes - 1}")
    if not classes or len(set(classes)) < len(classes):
        raise SpecError(f"targets: {classes} is not allowed; allowed: at least one class, each once")
    return classes


def _checked_shape(shape: Shape) -> Shape:
    sizes = tuple(shape) if isinstance(shape, Sequence) else ()
    if len(sizes) != 3 or not all(isinstance(size, int) and size > 0 for size in sizes):
        raise SpecError(f"shape: {shape!r} is not allowed; allowed: (channels, height, width) of an image")
    return sizes


def _known(auxiliary: Pool | None, given: GivenNetwork, classes: list[int]) -> Pool | None:
    """The auxiliary images (uint8) of these classes, with their places among them as labels."""
    if auxiliary is None:
        return None
    if not isinstance(auxiliary, tuple | list) or len(auxiliary) != 2:
        raise SpecError("auxiliary: not allowed as it is; allowed: (images, labels)")
    images, labels = auxiliary
    check_images(images, "auxiliary")
    if tuple(images.shape[1:]) != given.shape:
        raise SpecError(f"auxiliary: images of {tuple(images.shape[1:])} are not allowed; allowed: {given.shape}")
    check_labels(labels, len(images), given.num_classes, "auxiliary")
    pixels = images if images.dtype == torch.uint8 else images.float().mul(255).round().byte()
    place = torch.full((given.num_classes,), -1)
    place[classes] = torch.arange(len(classes))
    places = place[labels.long().cpu()]
    return pixels.cpu()[places >= 0], places[places >= 0]


def _learned_prior(
    attack: Inversion,
    learned: Mapping[str, Tensor] | None,
    known: Pool | None,
    given: GivenNetwork,
    count: int,
    seed: int,
) -> Mapping[str, Tensor]:
    """What the attack's prior has learned, or learns now, as in a trial; {} for an attack without one."""
    learner, name = attack.learned_prior, name_of("inversion", attack)
    if learner is None:
        if learned is not None:
            raise SpecError(f"learned: not allowed, {name!r} has no prior; allowed: None")
        return {}
    if learned is not None:
        try:
            learner.sampler(given.shape, count, learned)
        except (RuntimeError, KeyError, AttributeError, TypeError) as error:
            raise SpecError(f"learned: it does not fit method, shape and classes: {described(error)}") from error
        return learned
    if known is None:
        raise SpecError(
            f"auxiliary: {name!r} learns a prior from public images; allowed: auxiliary=(images, labels), learned= of "
            f"an earlier result, or another method: {_others(name)}"
        )
    images, labels = (tensor.to(given.device) for tensor in known)
    return learner.fit(images, labels, count, trial.generator(str(seed), "prior"))[0]
