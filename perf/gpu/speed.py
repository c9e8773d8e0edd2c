"""Images a second of training, attack and inversion, beside a plain loop, as shares of the matrix-product ceiling."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from benchmark import registry
from benchmark.evasion.apgd import APGD
from benchmark.evasion.attack import Evasion
from benchmark.evasion.pgd import PGD
from benchmark.inversion.attack import Victim
from benchmark.inversion.gradient import GradientInversion
from benchmark.models.classifier import Classifier, InputInfo
from benchmark.regimes.pgd_at import PGDAdversarialTraining
from perf import plain
from perf.gpu import compiling
from perf.measure import flops

INFO = InputInfo(3, 32, 32, 10, (0.49, 0.48, 0.45), (0.25, 0.24, 0.26))
TIMES_PLAIN, TRAINING_SHARE, ATTACK_SHARE = 4.0, 0.35, 0.40
"""Goals: training over the plain float32 loop; its share of the bfloat16 ceiling; of attacks' steps, of TF32's."""
_EPSILON, _STEPS = 8 / 255, 10
_NOTHING = (torch.zeros(0), torch.zeros(0))
Row = dict[str, Any]


def seconds(work: Callable[[], object], device: str) -> float:
    """Of one call, the device's queue included."""
    _wait(device)
    begin = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - begin


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def ceiling(device: str, dtype: torch.dtype, size: int) -> float:
    """FLOP/s of the best of three times ten products of square matrices."""
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))

    def products() -> None:
        for _ in range(10):
            a @ b

    products()
    return 2 * size**3 * 10 / min(seconds(products, device) for _ in range(3))


def goal(value: float, least: float) -> str:
    return f"{'reached' if value >= least else 'missed'}: at least {least:g}"


@dataclass(frozen=True)
class Ceilings:
    """FLOP/s of matrix products."""

    bfloat16: float
    tf32: float
    float32: float


@dataclass(frozen=True)
class Bench:
    """What is measured on. forward, both: operations of an image's forward pass, and of one with the input's gradient.

    steps: of attacks and inversions. samples: reconstructions a class.
    """

    device: str
    name: str
    num: int
    batch: int
    steps: int
    samples: int
    ceilings: Ceilings
    forward: float = 0.0
    both: float = 0.0

    def network(self) -> Classifier:
        model: Classifier = registry.parse("architecture", self.name).build(INFO)  # type: ignore[attr-defined]
        model.initialise(torch.Generator().manual_seed(0))
        return model.to(self.device).to(memory_format=torch.channels_last)

    def row(self, what: str, images: float, took: float, operations: float, peak: float, n: int) -> Row:
        """images: that went through; operations: of each."""
        rate = images / took
        return {"what": what, "images/s": rate, "TFLOP/s": rate * operations / 1e12,
                "share of its ceiling": rate * operations / peak, "n": n}  # fmt: skip


def measure(device: str, tiny: bool) -> Iterator[Row]:
    size = 256 if tiny else 8192
    found = []
    for kind, dtype, tf32 in (
        ("bfloat16", torch.bfloat16, False), ("TF32", torch.float32, True), ("float32", torch.float32, False),
    ):  # fmt: skip
        torch.backends.cuda.matmul.allow_tf32 = tf32
        found.append(ceiling(device, dtype, size))
        yield {"what": f"ceiling: product of {size} x {size} matrices, {kind}", "TFLOP/s": found[-1] / 1e12}
    torch.backends.cuda.matmul.allow_tf32 = False
    sizes = ("small_resnet", 64, 32, 3, 1) if tiny else ("resnet18", 10_240, 512, 20, 100)
    bench = Bench(device, *sizes, ceilings=Ceilings(*found))
    forward, both = flops(replace(bench, device="cpu").network(), torch.rand(1, 3, 32, 32))
    bench = replace(bench, forward=forward, both=both)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (bench.num, 3, 32, 32), generator=generator, dtype=torch.uint8).to(device)
    labels = torch.randint(0, 10, (bench.num,), generator=generator).to(device)
    yield from _training(bench, images, labels)
    yield from _attacks(bench, images)
    yield from _inversion(bench)


def _training(bench: Bench, images: Tensor, labels: Tensor) -> Iterator[Row]:
    """Epochs after the first, in which the network is compiled; the same uncompiled; and a textbook's loop."""
    work = _STEPS * bench.both + 3 * bench.forward

    def fit(epochs: int, compiled: bool) -> float:
        regime = PGDAdversarialTraining(epsilon=_EPSILON, steps=_STEPS, epochs=epochs, batch_size=bench.batch, lr=0.05)
        model = bench.network()
        with compiling.trainings(compiled):
            return seconds(lambda: regime.fit(model, images, labels, torch.Generator().manual_seed(1)), bench.device)

    first, longer, shorter = fit(1, True), fit(4, True), fit(1, True)
    yield {"what": f"pgd_at, {bench.name}: compiling, seconds more for a process's first epoch", "s": first - shorter}
    what = f"pgd_at, {bench.name}, PGD-{_STEPS}, batches of {bench.batch}"
    ours = bench.row(f"{what}, compiled", 3 * bench.num, longer - shorter, work, bench.ceilings.bfloat16, bench.num)
    yield {**ours, "goal": goal(ours["share of its ceiling"], TRAINING_SHARE)}
    fit(1, False)
    yield bench.row(f"{what}, not compiled", bench.num, fit(1, False), work, bench.ceilings.bfloat16, bench.num)
    rates = {}
    for kind, allowed in (("TF32 convolutions, torch's default", True), ("float32", False)):
        torch.backends.cudnn.allow_tf32 = allowed
        num = max(bench.batch, bench.num // 5)
        model = bench.network().to(memory_format=torch.contiguous_format)
        _plainly(bench, model, images[: bench.batch], labels[: bench.batch])
        took = seconds(lambda model=model, num=num: _plainly(bench, model, images[:num], labels[:num]), bench.device)
        peak = bench.ceilings.tf32 if allowed else bench.ceilings.float32
        row = bench.row(f"the same by a plain loop, {kind}", num // bench.batch * bench.batch, took, work, peak, num)
        rates[kind] = row["images/s"]
        yield row
    torch.backends.cudnn.allow_tf32 = True
    for kind, rate in rates.items():
        told = {"goal": goal(ours["images/s"] / rate, TIMES_PLAIN)} if kind == "float32" else {}
        yield {"what": f"pgd_at over the plain loop, {kind}", "times": ours["images/s"] / rate, **told}


def _plainly(bench: Bench, model: nn.Module, images: Tensor, labels: Tensor) -> None:
    plain.adversarial_training(
        model, images.float() / 255, labels, epochs=1, batch_size=bench.batch, epsilon=_EPSILON, steps=_STEPS,
        warm_epochs=1, rate=lambda step, steps: 0.05, generator=torch.Generator().manual_seed(1),
    )  # fmt: skip


def _attacks(bench: Bench, images: Tensor) -> Iterator[Row]:
    """With a radius that fools nobody, so that every image takes every step. times: over the plain loop."""
    model, steps = bench.network().eval(), bench.steps
    x = images[: max(32, len(images) // 3)].float() / 255
    with torch.no_grad():
        y = model(x).argmax(1)
    plainly = bench.network().to(memory_format=torch.contiguous_format)
    took = _timed(bench, lambda: plain.attack(plainly, x, y, 1e-6, steps, 1e-7))
    what = "a plain loop's steps of PGD linf, contiguous, one batch; beside APGD too"
    beside = bench.row(what, steps * len(x), took, bench.both, bench.ceilings.tf32, len(x))
    yield beside
    attacks: dict[str, Evasion] = {
        "PGD linf": PGD(epsilon=1e-6, steps=steps),
        "PGD l2": PGD(norm="l2", epsilon=1e-6, steps=steps),
        "APGD linf, cross-entropy": APGD(epsilon=1e-6, steps=steps),
        "APGD l2, targeted DLR, 1 target": APGD(
            norm="l2", epsilon=1e-6, steps=steps, loss="targeted_dlr", targets=1
        ),
    }  # fmt: skip
    for name, attack in attacks.items():
        took = _timed(bench, lambda a=attack: a.perturb(model, x, y, torch.Generator().manual_seed(0)))
        yield _with_plain(bench, f"{name}: image steps", beside, took, steps * len(x), len(x))


def _timed(bench: Bench, work: Callable[[], object]) -> float:
    """Seconds of the second call: the first loads kernels and chooses them, for batches of this size."""
    work()
    return seconds(work, bench.device)


def _with_plain(bench: Bench, what: str, beside: Row, took: float, images: float, n: int) -> Row:
    row = bench.row(what, images, took, bench.both, bench.ceilings.tf32, n)
    reached = goal(row["share of its ceiling"], ATTACK_SHARE)
    return {**row, "times": row["images/s"] / beside["images/s"], "goal": reached}


def _inversion(bench: Bench) -> Iterator[Row]:
    steps = 5 * bench.steps
    method = GradientInversion(steps=steps, samples_per_class=bench.samples)
    victim = Victim(bench.network().eval(), (3, 32, 32), 10, torch.device(bench.device), *[_NOTHING] * 3)
    targets = method.targets(10).to(bench.device)
    start = torch.rand((len(targets), 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(bench.device)
    plainly, num = bench.network().to(memory_format=torch.contiguous_format), len(targets)

    def batches() -> None:
        for x, y in zip(start.split(method.batch_size), targets.split(method.batch_size), strict=True):
            plain.inversion(plainly, x, y, steps, 0.5).cpu()

    took = _timed(bench, batches)
    what = "a plain loop's inversion, contiguous, in the same batches"
    beside = bench.row(what, steps * num, took, bench.both, bench.ceilings.tf32, num)
    yield beside
    took = _timed(bench, lambda: method.reconstruct(victim, torch.Generator().manual_seed(0)))
    yield _with_plain(bench, "inversion: image steps", beside, took, steps * num, num)
