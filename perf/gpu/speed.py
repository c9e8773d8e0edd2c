"""Images a second of training, attack and inversion, beside a plain loop, as shares of the matrix-product ceiling."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmark import registry
from benchmark.evasion.pgd import PGD
from benchmark.inversion.attack import Victim
from benchmark.inversion.gradient import GradientInversion
from benchmark.models.classifier import Classifier, InputInfo
from benchmark.regimes.pgd_at import PGDAdversarialTraining
from perf import plain
from perf.measure import flops

INFO = InputInfo(3, 32, 32, 10, (0.49, 0.48, 0.45), (0.25, 0.24, 0.26))
_EPSILON, _STEPS = 8 / 255, 10


def seconds(work: Callable[[], object], device: str) -> float:
    """Of one call, the device's queue included."""
    _wait(device)
    begin = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - begin


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def ceiling(device: str, dtype: torch.dtype, size: int) -> float:
    """FLOP/s of the best of three times ten products of square matrices."""
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))

    def products() -> None:
        for _ in range(10):
            a @ b

    products()
    return 2 * size**3 * 10 / min(seconds(products, device) for _ in range(3))


def _network(name: str, device: str) -> Classifier:
    model: Classifier = registry.parse("architecture", name).build(INFO)  # type: ignore[attr-defined]
    model.initialise(torch.Generator().manual_seed(0))
    return model.to(device).to(memory_format=torch.channels_last)


def _plainly(model: nn.Module, images: Tensor, labels: Tensor, batch: int) -> None:
    """A tutorial's adversarial training: float32, contiguous, uncompiled."""
    plain.adversarial_training(
        model, images.float() / 255, labels, epochs=1, batch_size=batch, epsilon=_EPSILON, steps=_STEPS, warm_epochs=1,
        rate=lambda step, steps: 0.05, generator=torch.Generator().manual_seed(1),
    )  # fmt: skip


def measure(device: str, tiny: bool) -> list[dict[str, Any]]:
    name, num, batch = ("small_resnet", 64, 32) if tiny else ("resnet18", 10_240, 512)
    size = 256 if tiny else 8192
    rows: list[dict[str, Any]] = []
    peaks = {}
    for dtype in (torch.bfloat16, torch.float32):
        peaks[dtype] = ceiling(device, dtype, size)
        rows.append({"what": f"product of {size} x {size} matrices, {dtype}", "TFLOP/s": peaks[dtype] / 1e12})
    torch.backends.cuda.matmul.allow_tf32 = True
    tf32 = ceiling(device, torch.float32, size)
    rows.append({"what": f"product of {size} x {size} matrices, TF32", "TFLOP/s": tf32 / 1e12})
    torch.backends.cuda.matmul.allow_tf32 = False
    forward, both = flops(_network(name, "cpu"), torch.rand(1, 3, 32, 32))

    def row(what: str, images: float, took: float, operations: float, peak: float, n: int) -> None:
        rate = images / took
        rows.append({"what": what, "images/s": rate, "TFLOP/s": rate * operations / 1e12,
                     "share of its ceiling": rate * operations / peak, "n": n})  # fmt: skip

    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (num, 3, 32, 32), generator=generator, dtype=torch.uint8).to(device)
    labels = torch.randint(0, 10, (num,), generator=generator).to(device)
    training = _STEPS * both + 3 * forward

    def fit(epochs: int) -> float:
        regime = PGDAdversarialTraining(epsilon=_EPSILON, steps=_STEPS, epochs=epochs, batch_size=batch, lr=0.05)
        model = _network(name, device)
        return seconds(lambda: regime.fit(model, images, labels, torch.Generator().manual_seed(1)), device)

    first, longer, shorter = fit(1), fit(4), fit(1)
    rows.append({"what": f"pgd_at, {name}: first epoch beside a later first epoch, s", "images/s": first / shorter})
    row(
        f"pgd_at, {name}, PGD-{_STEPS}, as suites train",
        3 * num,
        longer - shorter,
        training,
        peaks[torch.bfloat16],
        num,
    )
    for allowed in (True, False):
        torch.backends.cudnn.allow_tf32 = allowed
        few = images[: max(batch, num // 5)], labels[: max(batch, num // 5)]
        model = _network(name, device).to(memory_format=torch.contiguous_format)
        _plainly(model, few[0][:batch], few[1][:batch], batch)
        took = seconds(lambda model=model, few=few: _plainly(model, *few, batch), device)
        kind = "TF32 convolutions, torch's default" if allowed else "float32"
        row(f"the same by a plain loop, {kind}", len(few[0]) // batch * batch, took, training,
            tf32 if allowed else peaks[torch.float32], len(few[0]))  # fmt: skip
    torch.backends.cudnn.allow_tf32 = True
    _attack_steps(device, name, images, both, tf32, row)
    return rows


def _attack_steps(device: str, name: str, images: Tensor, both: float, peak: float, row: Callable[..., None]) -> None:
    """PGD with a radius that fools nobody, so that every image takes every step; inversion."""
    model = _network(name, device).eval()
    x = images[: max(32, len(images) // 3)].float() / 255
    with torch.no_grad():
        y = model(x).argmax(1)
    for norm in ("linf", "l2"):
        attack = PGD(norm=norm, epsilon=1e-6, steps=20)
        attack.perturb(model, x[:64], y[:64], torch.Generator().manual_seed(0))
        took = seconds(lambda a=attack: a.perturb(model, x, y, torch.Generator().manual_seed(0)), device)
        row(f"PGD {norm}, image steps", 20.0 * len(x), took, both, peak, len(x))
    took = seconds(lambda: plain.attack(model, x, y, 1e-6, 20, 1e-7), device)
    row("a plain loop's linf steps, same network, one batch", 20.0 * len(x), took, both, peak, len(x))
    inversion = GradientInversion(steps=5 if len(x) < 100 else 100, samples_per_class=3 if len(x) < 100 else 100)
    nothing = (torch.zeros(0), torch.zeros(0))
    victim = Victim(model, (3, 32, 32), 10, torch.device(device), nothing, nothing, nothing)
    inversion.reconstruct(victim, torch.Generator().manual_seed(0))
    took = seconds(lambda: inversion.reconstruct(victim, torch.Generator().manual_seed(0)), device)
    num = 10 * inversion.samples_per_class
    row("inversion, image steps", float(num * inversion.steps), took, both, peak, num)
