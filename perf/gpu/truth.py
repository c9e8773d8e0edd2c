"""Does the GPU compute what the CPU does? Against float64 on the CPU, with tolerances derived from the networks."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from benchmark import registry
from benchmark.data.embedded import FashionMNIST13k
from benchmark.evasion.attack import input_gradient
from benchmark.evasion.pgd import PGD
from benchmark.inversion.attack import Victim
from benchmark.inversion.gradient import GradientInversion
from benchmark.models.classifier import Classifier, InputInfo
from benchmark.regimes.regime import to_float
from benchmark.regimes.standard import Standard

_FLOAT32, _TF32 = 2.0**-24, 2.0**-11
"""Unit roundoffs. TF32 is what cuDNN's convolutions use for float32 unless it is told not to."""
_RUNS, _SAFETY = 5, 4.0


class _Noise(torch.autograd.Function):
    """Monte Carlo arithmetic (Parker 1997): each result is multiplied by 1 + a random relative error, both ways."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, size: float) -> Tensor:  # type: ignore[override]
        ctx.size = size
        return x * (1 + size * (2 * torch.rand_like(x) - 1))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return gradient * (1 + ctx.size * (2 * torch.rand_like(gradient) - 1)), None


@contextmanager
def _rounding(model: nn.Module, unit: float) -> Iterator[None]:
    """Every layer with the errors of its sums: sqrt(terms) roundings, of random sign (Higham and Mary 2019)."""
    hooks = []
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
            terms = layer.weight[0].numel() if layer.weight.ndim > 1 else 4
            size = unit * math.sqrt(terms)
            hooks.append(layer.register_forward_hook(lambda _, given, out, size=size: _Noise.apply(out, size)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _looked(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    gradient, logits, _ = input_gradient(model, x, y)
    return logits.double().cpu(), gradient.double().cpu()


def _apart(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> tuple[float, float]:
    return tuple(float((a - b).abs().max() / b.abs().max()) for a, b in zip(found, expected, strict=True))  # type: ignore[return-value]


def _built(name: str, info: InputInfo) -> Classifier:
    model = registry.parse("architecture", name).build(info)  # type: ignore[attr-defined]
    model.initialise(torch.Generator().manual_seed(0))
    return model.eval()


def _passes(name: str, info: InputInfo, device: str, num: int) -> list[dict[str, Any]]:
    """Largest differences of logits and input gradients, as shares of the largest value."""
    x = torch.rand((num, info.channels, info.height, info.width), generator=torch.Generator().manual_seed(1))
    y = torch.arange(num) % info.num_classes
    reference = _built(name, info).double()
    exact = _looked(reference, x.double(), y)
    tolerances = {}
    for unit in (_FLOAT32, _TF32):
        with _rounding(reference, unit):
            runs = [_apart(_looked(reference, x.double(), y), exact) for _ in range(_RUNS)]
        tolerances[unit] = [_SAFETY * max(run[i] for run in runs) for i in (0, 1)]
    rows = []
    for where, unit, tf32 in (("cpu", _FLOAT32, False), (device, _FLOAT32, False), (device, _TF32, True)):
        torch.backends.cudnn.allow_tf32 = tf32
        found = _apart(_looked(_built(name, info).to(where), x.to(where), y.to(where)), exact)
        kind = f"{where}, {'TF32 in convolutions' if tf32 else 'float32'} against float64"
        for i, what in enumerate(("logits", "input gradient")):
            tolerance = tolerances[unit][i]
            verdict = "within" if found[i] <= tolerance else "OUTSIDE"
            rows.append(_row(f"{name}, {what}", kind, found[i], tolerance, verdict, num))
    return rows


def _row(what: str, how: str, found: float, tolerance: float | str, verdict: str, n: int) -> dict[str, Any]:
    return {"what": what, "how": how, "difference": found, "tolerance": tolerance, "verdict": verdict, "n": n}


def _attacks(device: str, num: int, steps: int) -> list[dict[str, Any]]:
    """A network trained for 50 steps, attacked and inverted here and there with the same draws."""
    data = FashionMNIST13k().load(None)
    info = InputInfo(1, 28, 28, 10, data.mean, data.std)
    regime = Standard(epochs=1, batch_size=64)
    images, labels = data.images[: 64 * steps], data.labels[: 64 * steps]

    def trained(where: str) -> tuple[Classifier, float]:
        model = _built("small_resnet", info).to(where)
        losses = regime.fit(model, images.to(where), labels.to(where), torch.Generator().manual_seed(2))
        return model.cpu(), losses[-1]

    (here, loss), (there, other), (again, _) = trained("cpu"), trained(device), trained(device)
    weights = [torch.cat([p.flatten() for p in model.parameters()]) for model in (here, there, again)]
    twice = float((weights[1] - weights[2]).detach().abs().max())
    rows = [
        _row(f"training, {steps} steps", f"{device} against cpu: loss {other:.4f} and {loss:.4f}", abs(other - loss),
             "chaotic: none", "", steps),
        _row(f"training, {steps} steps, twice", f"{device}: largest difference of a weight", twice, 0.0,
             "equal" if twice == 0 else "DIFFERS", steps),
    ]  # fmt: skip
    x, y = to_float(data.test_images[:num]), data.test_labels[:num]
    for attack in (PGD(epsilon=0.02, steps=20), PGD(norm="l2", epsilon=0.5, steps=20)):
        outcomes = []
        for where in ("cpu", device, device):
            model = here.to(where)
            found = attack.perturb(model, x.to(where), y.to(where), torch.Generator().manual_seed(3)).images
            with torch.no_grad():
                outcomes.append((model(found).argmax(1).cpu() == y, found.cpu()))
        differ = int((outcomes[0][0] != outcomes[1][0]).sum())
        accuracies = " and ".join(f"{float(o[0].double().mean()):.3f}" for o in outcomes[:2])
        rows.append(_row(f"PGD-20 {attack.norm}", f"cpu against {device}: robust {accuracies}; images that differ",
                         float(differ), "", "", num))  # fmt: skip
        same = float((outcomes[1][1] - outcomes[2][1]).abs().max())
        rows.append(_row(f"PGD-20 {attack.norm}, twice", f"{device}: largest difference of a pixel", same, 0.0,
                         "equal" if same == 0 else "DIFFERS", num))  # fmt: skip
    rows.append(_inverted(here, device, 50 if steps > 10 else 3))
    return rows


def _inverted(model: Classifier, device: str, steps: int) -> dict[str, Any]:
    attack = GradientInversion(steps=steps, samples_per_class=8)
    nothing = (torch.zeros(0), torch.zeros(0))

    def confidences(where: str) -> Tensor:
        victim = Victim(model.to(where), (1, 28, 28), 10, torch.device(where), nothing, nothing, nothing)
        found = attack.reconstruct(victim, torch.Generator().manual_seed(4))
        with torch.no_grad():
            return model.cpu()(found).softmax(1).gather(1, attack.targets(10)[:, None]).flatten()

    here, there = confidences("cpu"), confidences(device)
    how = f"{device} against cpu: mean target confidence {float(there.mean()):.4f} and {float(here.mean()):.4f}"
    return _row(f"inversion, {steps} steps", how, float((there - here).abs().mean()), "chaotic: none", "", len(here))


def measure(device: str, tiny: bool) -> Iterator[dict[str, Any]]:
    colour = InputInfo(3, 32, 32, 10, (0.49, 0.48, 0.45), (0.25, 0.24, 0.26))
    grey = InputInfo(1, 28, 28, 10, (0.29,), (0.35,))
    yield from _passes("small_resnet", grey, device, 16 if tiny else 64)
    yield from _attacks(device, 16 if tiny else 256, 5 if tiny else 50)
    if not tiny:
        yield from _passes("resnet18", colour, device, 16)  # float64 on a CPU, eleven times
