"""A network that the caller has in memory, as attacks take one: images in [0, 1] in, logits out."""

import copy
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from benchmark.reading.text import shown
from benchmark.spec import SpecError
from benchmark.stages.shared.network_check import NUM_IMAGES, check_network
from benchmark.user_files.users_code import described

Shape = tuple[int, int, int]
Constants = tuple[tuple[float, ...], tuple[float, ...]]


class GivenNetwork(nn.Module):
    """`forward(x) = network((x - mean) / std)`. x: (N, C, H, W) float32 in [0, 1]; result: logits (N, K).

    It holds a copy of the caller's network, on the same device, whose convolutions are laid out as in a trial: attacks
    may merge layers and stop gradients. A network that cannot be copied is held itself; attacks put back what they
    change. shape: (C, H, W). num_classes: K.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, shape: Shape, constants: Constants) -> None:
        super().__init__()
        kinds = (*network.parameters(), *network.buffers())
        self.device = kinds[0].device if kinds else torch.device("cpu")
        self.dtype = next((tensor.dtype for tensor in kinds if tensor.is_floating_point()), torch.float32)
        self.network, self.shape, self.num_classes = _copied(network), shape, 0
        for name, values in zip(("mean", "std"), constants, strict=True):
            self.register_buffer(name, torch.tensor(values, device=self.device).view(1, -1, 1, 1))
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K)."""
        return cast(Tensor, self.network(((images - self.mean) / self.std).to(self.dtype)))


def given_network(
    model: nn.Module,
    shape: Shape,
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
    value_range: tuple[float, float] | None = None,
    num_classes: int | None = None,
) -> GivenNetwork:
    """The caller's model, checked on images of noise. It is left as it is: weights, gradients, modes and hooks.

    model: in eval mode, images in and logits out. shape: (C, H, W) of an image. mean, std, value_range: see
    `normalisation`. num_classes: what it must give; None: whatever it gives.
    Raises SpecError, in one line, for a model in train mode, one that does not take such images, or gives no logits
    that depend on the image alone.
    """
    check_eval_mode(model)
    given = GivenNetwork(model, shape, normalisation(shape[0], mean, std, value_range))
    images = torch.rand(NUM_IMAGES, *shape, generator=torch.Generator().manual_seed(0)).to(given.device)
    try:
        with torch.no_grad():
            logits = given(images)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise SpecError(f"model: it fails on images of {shape}: {described(error)}") from error
    if num_classes is None and isinstance(logits, Tensor) and logits.ndim == 2:
        num_classes = logits.shape[1]
    if num_classes == 1:
        raise SpecError("model: it gives one number an image; allowed: a logit for each of at least 2 classes")
    try:
        check_network(given, images, num_classes or 2)
    except SpecError as error:
        raise SpecError(f"model: {error.message}") from error
    given.num_classes = num_classes or 2
    return given


def check_gradient(given: GivenNetwork) -> None:
    """Raise SpecError if the logits have no gradient by the images, without which most attacks stand still."""
    with torch.enable_grad():
        logits = given(torch.full((1, *given.shape), 0.5, device=given.device, requires_grad=True))
    if not logits.requires_grad:
        raise SpecError("model: its logits have no gradient by the images; is there a no_grad or a detach inside?")


def check_eval_mode(model: nn.Module) -> None:
    """Raise SpecError for what is no network, and for one of which a part is in train mode."""
    if not isinstance(model, nn.Module):
        raise SpecError(f"model: a {type(model).__name__} is not allowed; allowed: a torch.nn.Module")
    for name, part in model.named_modules():
        if part.training:
            where = f"its part {name!r}" if name else "it"
            raise SpecError(f"model: {where} is in train mode; call model.eval() first")


def normalisation(
    channels: int,
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
    value_range: tuple[float, float] | None = None,
) -> Constants:
    """(mean, std), a number a channel: the network is to be given (x - mean) / std, x in [0, 1].

    mean and std: of pixels in [0, 1], a number or one a channel. value_range: (low, high) that the network takes for
    0 and 1, such as (-1, 1) or (0, 255). Nothing given: it takes [0, 1] as it is. Raises SpecError.
    """
    if value_range is not None:
        if mean is not None or std is not None:
            raise SpecError("value_range: not allowed beside mean and std; allowed: one of the two")
        low, high = _numbers("value_range", value_range, 2)
        if not low < high:
            raise SpecError(f"value_range: {shown(value_range)} is not allowed; allowed: (low, high), low below high")
        return (-low / (high - low) + 0.0,) * channels, (1 / (high - low),) * channels
    if (mean is None) != (std is None):
        raise SpecError(f"{'mean' if std is None else 'std'}: not allowed alone; allowed: both of mean and std")
    if mean is None or std is None:
        return (0.0,) * channels, (1.0,) * channels
    means, stds = _numbers("mean", mean, channels), _numbers("std", std, channels)
    if not all(0 <= value <= 1 for value in means):
        raise SpecError(f"mean: {shown(means)} is not allowed; pixels are in [0, 1]: divide it by 255?")
    if not all(0 < value <= 1 for value in stds):
        raise SpecError(f"std: {shown(stds)} is not allowed; allowed: above 0, up to 1, in units of [0, 1] pixels")
    return means, stds


def _numbers(name: str, values: object, count: int) -> tuple[float, ...]:
    """So many finite numbers; one stands for all. Raises SpecError."""
    try:
        found = torch.as_tensor(values, dtype=torch.float64, device="cpu").flatten()
    except (TypeError, ValueError, RuntimeError) as error:
        raise SpecError(f"{name}: {shown(values)} is not allowed; allowed: {count} numbers") from error
    if len(found) == 1 and name != "value_range":
        found = found.expand(count)
    if len(found) != count or not bool(found.isfinite().all()):
        raise SpecError(f"{name}: {shown(values)} is not allowed; allowed: {count} finite numbers")
    return tuple(found.tolist())


def _copied(network: nn.Module) -> nn.Module:
    try:
        with torch.no_grad():  # lest a TorchScript module's weights be computed from the caller's
            own = copy.deepcopy(network)
    except Exception:  # whatever its parts raise: weights that are computed by a hook, handles, locks
        return network
    for tensor in (*own.parameters(), *own.buffers()):
        if tensor.ndim == 4:
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
    return own
