"""How far may another processor be off? The same work in float64 with the errors of rounding put in says it."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from benchmark.models.classifier import Classifier
from benchmark.regimes import regime
from perf.gpu import compiling

FLOAT64, FLOAT32, TF32, BFLOAT16 = 2.0**-53, 2.0**-24, 2.0**-11, 2.0**-9
"""Unit roundoffs. TF32 is what cuDNN's convolutions use for float32 unless it is told not to."""
RUNS, SAFETY = 3, 4.0
RULE_OF_THREE = 3.0
"""What never happened in n tries happens less than 3 / n times a try, with 95% confidence."""


def _noisy(x: Tensor, size: float) -> Tensor:
    """Random errors of this size, relative to a value or to what is usual in its channel: of its own, and shared.

    Places that see the same, as all of a black background do, are rounded the same way: such errors do not average out.
    A sum that comes out near 0 has the errors of its terms.
    """
    own, shared = (
        2 * torch.rand(shape, dtype=x.dtype) - 1 for shape in (x.shape, (1, x.shape[1], *[1] * (x.ndim - 2)))
    )
    usual = x.square().mean([i for i in range(x.ndim) if i != 1], keepdim=True).sqrt()
    return x + size * torch.maximum(x.abs(), usual) * (own + shared)


class _Noise(torch.autograd.Function):
    """Monte Carlo arithmetic (Parker 1997): errors of these sizes forward and backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, forward: float, backward: float) -> Tensor:  # type: ignore[override]
        ctx.size = backward
        return _noisy(x, forward)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        return _noisy(gradient, ctx.size), None, None


@contextmanager
def rounding(model: nn.Module, unit: float, edges: bool = True) -> Iterator[None]:
    """Every layer with the errors of its sums, of random sign (Higham and Mary 2019), see `_size`.

    unit: 0 for none. edges: images go in and logits come out in float32, and are computed with in float32.
    """

    def of_layer(layer: nn.Module, given: tuple[Tensor], out: Tensor) -> Tensor:
        size = _size(layer, given[0], unit)
        return _Noise.apply(out, size, size)  # type: ignore[no-any-return]

    def of_images(_: nn.Module, given: tuple[Tensor]) -> Tensor | None:
        x = given[0]  # a batch of a training is the same everywhere
        return _Noise.apply(x, FLOAT32, FLOAT32 * math.sqrt(x[0].numel())) if x.requires_grad else None

    def of_logits(_: nn.Module, given: tuple[Tensor], out: Tensor) -> Tensor:
        size = FLOAT32 * math.sqrt(out.shape[1])
        return _Noise.apply(out, size, size)  # type: ignore[no-any-return]

    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear | nn.BatchNorm2d)]
    hooks = [layer.register_forward_hook(of_layer) for layer in layers if unit]
    if unit and edges:
        hooks += [model.register_forward_pre_hook(of_images), model.register_forward_hook(of_logits)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _size(layer: nn.Module, x: Tensor, unit: float) -> float:
    """Relative error of a layer's value: n sums are sqrt(n) roundings off, and both factors of a product are rounded.

    Sums are in float32 even where factors are in less. A batch norm in training sums a channel of the whole batch.
    """
    if isinstance(layer, nn.BatchNorm2d):
        terms = x.numel() // x.shape[1] if layer.training else 4
    else:
        assert isinstance(layer.weight, Tensor)
        terms = layer.weight[0].numel()
    return min(unit, FLOAT32) * math.sqrt(terms) + unit * math.sqrt(2)


def in_float64(model: Classifier) -> Classifier:
    """A network that computes in float64 what it is given and answers in float32, as attacks and losses expect it.

    What surrounds it is the same as ever: the same draws, the same steps.
    """
    model.double().register_forward_hook(lambda _, given, logits: logits.float())
    return model


@dataclass(frozen=True)
class How:
    """Where and in which arithmetic a piece of work is done. noise: unit roundoff put in; 0 for none."""

    device: str
    unit: float
    noise: float = 0.0

    @property
    def told(self) -> str:
        kinds = {
            FLOAT64: "float64",
            FLOAT32: "float32",
            TF32: "TF32 in convolutions",
            BFLOAT16: "bfloat16, compiled",
        }
        return f"{self.device}, {kinds[self.unit]}"

    def moved(self, model: Classifier) -> Classifier:
        """The network, which is changed, as this arithmetic has it."""
        return (in_float64(model) if self.unit == FLOAT64 else model).to(self.device)

    @contextmanager
    def arithmetic(self) -> Iterator[None]:
        """torch's switches; training is neither compiled nor in bfloat16 unless that is what is asked for."""
        before, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, self.unit == TF32
        try:
            with contextmanager(_as_suites_train if self.unit == BFLOAT16 else _plainly)():
                yield
        finally:
            torch.backends.cudnn.allow_tf32 = before


def _as_suites_train() -> Iterator[None]:
    with compiling.trainings(compiled=True):
        yield


def _plainly() -> Iterator[None]:
    with (
        compiling.trainings(compiled=False),
        mock.patch.object(regime, "autocast", lambda device: torch.autocast("cpu", enabled=False)),
    ):
        yield


Work = Callable[[How], Tensor]
Apart = Callable[[Tensor, Tensor], dict[str, float]]
"""What was found and what was expected -> name of a measure -> how far apart they are."""


def against_float64(
    what: str, work: Work, apart: Apart, hows: list[How], n: int, counted: bool = False
) -> Iterator[dict[str, Any]]:
    """How far the work, done in each of these ways, is off from float64 on the CPU, and may be.

    The tolerance is SAFETY times the most that RUNS runs in float64 with the errors of that arithmetic's rounding put
    in are off. counted: what is measured are counts, of which none in all of the runs still allows the rule of three's.
    Where the tolerance is as large as what is measured, as after many steps that amplify errors, it tells nothing.
    """
    exact = _done(work, How("cpu", FLOAT64))
    tolerances: dict[float, list[dict[str, float]]] = {}
    for how in hows:
        if how.unit not in tolerances:
            noisy = How("cpu", FLOAT64, noise=how.unit)
            tolerances[how.unit] = [apart(_done(work, noisy), exact) for _ in range(RUNS)]
        for measure, found in apart(_done(work, how), exact).items():
            most = max(run[measure] for run in tolerances[how.unit])
            tolerance = SAFETY * (max(most, RULE_OF_THREE / RUNS) if counted else most)
            verdict = (
                "OUTSIDE" if found > tolerance else "within" if tolerance < (n if counted else 1) else "tells nothing"
            )
            yield {"what": f"{what}: {measure}", "how": f"{how.told} against float64 on the CPU", "difference": found,
                   "tolerance": tolerance, "verdict": verdict, "n": n}  # fmt: skip


def _done(work: Work, how: How) -> Tensor:
    with how.arithmetic():
        return work(how).detach().double().cpu()
