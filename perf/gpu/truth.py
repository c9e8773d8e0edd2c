"""Does the GPU compute what the CPU does? Against float64 on the CPU, with tolerances derived from the networks."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from benchmark import registry
from benchmark.data.embedded import FashionMNIST13k
from benchmark.evasion.apgd import APGD
from benchmark.evasion.attack import Evasion, input_gradient
from benchmark.evasion.autoattack import AutoAttackQuick
from benchmark.evasion.pgd import PGD
from benchmark.evasion.square import Square
from benchmark.inversion.attack import Victim
from benchmark.inversion.gradient import GradientInversion
from benchmark.models.classifier import Classifier, InputInfo
from benchmark.regimes.regime import to_float
from benchmark.regimes.standard import Standard
from perf.gpu.rounding import BFLOAT16, FLOAT32, FLOAT64, TF32, How, against_float64, rounding
from perf.gpu.twice import twice

Row = dict[str, Any]
GREY = InputInfo(1, 28, 28, 10, (0.29,), (0.35,))
_COLOUR = InputInfo(3, 32, 32, 10, (0.49, 0.48, 0.45), (0.25, 0.24, 0.26))
_BATCH = 32
_NOTHING = (torch.zeros(0), torch.zeros(0))
State = dict[str, Tensor]


def _built(name: str, info: InputInfo, state: State | None = None) -> Classifier:
    model = registry.parse("architecture", name).build(info)  # type: ignore[attr-defined]
    model.initialise(torch.Generator().manual_seed(0))
    if state:
        model.load_state_dict(state)
    return model.eval()


def _hows(device: str, *units: float) -> list[How]:
    return [How("cpu", FLOAT32), *(How(device, unit) for unit in units)]


def passes(name: str, info: InputInfo, device: str, num: int) -> Iterator[Row]:
    """Logits and input gradients of a fresh network: shares of the largest value."""
    x = torch.rand((num, info.channels, info.height, info.width), generator=torch.Generator().manual_seed(1))
    y = torch.arange(num) % info.num_classes

    def work(how: How) -> Tensor:
        model, given = _built(name, info).to(how.device), x.to(how.device)
        if how.unit == FLOAT64:  # to the end: a last rounding to float32 would hide what comes before
            model, given = model.double(), given.double()
        with rounding(model, how.noise, edges=False):
            gradient, logits, _ = input_gradient(model, given, y.to(how.device))
        return torch.cat([logits.double(), gradient.flatten(1).double()], 1)

    def apart(found: Tensor, expected: Tensor) -> dict[str, float]:
        parts = zip(*(both.tensor_split([info.num_classes], 1) for both in (found, expected)), strict=True)
        measured = {}
        for what, (one, other) in zip(("logits", "input gradients"), parts, strict=True):
            # An error that flips a ReLU moves a few gradients by much; the median image is not one of them.
            off = (one - other).abs().amax(1) / other.abs().max()
            measured |= {f"{what}, largest": float(off.max()), f"{what}, median image": float(off.median())}
        return measured

    yield from against_float64(name, work, apart, _hows(device, FLOAT64, FLOAT32, TF32), num)


def trainings(device: str, steps: int) -> Iterator[Row]:
    """A training of a few steps: its mean loss and its weights, as shares of how far they moved."""
    data = FashionMNIST13k().load(None)
    images, labels = data.images[: _BATCH * steps], data.labels[: _BATCH * steps]
    before = _weights(_built("small_resnet", GREY))

    def work(how: How) -> Tensor:
        model = how.moved(_built("small_resnet", GREY))
        with rounding(model, how.noise):
            losses = Standard(epochs=1, batch_size=_BATCH).fit(
                model, images.to(how.device), labels.to(how.device), torch.Generator().manual_seed(2)
            )
        return torch.cat([torch.tensor(losses[-1:], dtype=torch.float64), _weights(model)])

    def apart(found: Tensor, expected: Tensor) -> dict[str, float]:
        moved = (expected[1:] - before).norm()
        return {"loss": float((found - expected)[0].abs()), "weights": float((found - expected)[1:].norm() / moved)}

    yield from against_float64(
        f"training, {steps} steps", work, apart, _hows(device, FLOAT64, FLOAT32, BFLOAT16), steps
    )  # fmt: skip


def _weights(model: Classifier) -> Tensor:
    return torch.cat([p.detach().double().flatten().cpu() for p in model.parameters()])


def _trained(steps: int) -> State:
    """The network that is attacked."""
    data = FashionMNIST13k().load(None)
    model = _built("small_resnet", GREY)
    num = _BATCH * steps
    Standard(epochs=1, batch_size=_BATCH).fit(
        model, data.images[:num], data.labels[:num], torch.Generator().manual_seed(2)
    )  # fmt: skip
    return model.state_dict()


def attack(method: Evasion, name: str, state: State, device: str, num: int) -> Iterator[Row]:
    """Images of which it is not the same whether they stand; and the same attack twice on the device."""
    data = FashionMNIST13k().load(None)
    x, y = to_float(data.test_images[:num]), data.test_labels[:num]

    def images(how: How) -> tuple[Classifier, Tensor]:
        model = how.moved(_built("small_resnet", GREY, state))
        generator = torch.Generator().manual_seed(3)
        with rounding(model, how.noise):
            return model, method.perturb(model, x.to(how.device), y.to(how.device), generator).images

    def stands(how: How) -> Tensor:
        model, found = images(how)
        with torch.no_grad():
            return model(found).argmax(1).cpu() == y

    def apart(found: Tensor, expected: Tensor) -> dict[str, float]:
        return {"images whose outcome differs": float((found != expected).sum())}

    hows = _hows(device, FLOAT64, FLOAT32, TF32)
    yield from against_float64(name, stands, apart, hows, num, counted=True)
    here = How(device, FLOAT32)
    with here.arithmetic():
        yield same(f"{name}, twice: pixels", device, images(here)[1], images(here)[1])


def same(what: str, device: str, one: Tensor, other: Tensor) -> Row:
    found = float((one.double() - other.double()).abs().max())
    return {"what": what, "how": f"{device} against itself", "difference": found, "tolerance": 0.0,
            "verdict": "equal" if torch.equal(one, other) else "DIFFERS", "n": len(one)}  # fmt: skip


def inversion(state: State, device: str, steps: int, samples: int) -> Iterator[Row]:
    """Confidence in the target class, reconstruction by reconstruction."""
    method = GradientInversion(steps=steps, samples_per_class=samples)

    def confidences(how: How) -> Tensor:
        model = how.moved(_built("small_resnet", GREY, state))
        victim = Victim(model, (1, 28, 28), 10, torch.device(how.device), _NOTHING, _NOTHING, _NOTHING)
        with rounding(model, how.noise):
            found = method.reconstruct(victim, torch.Generator().manual_seed(4)).to(how.device)
            return model(found).softmax(1).cpu().gather(1, method.targets(10)[:, None])

    def apart(found: Tensor, expected: Tensor) -> dict[str, float]:
        off = (found - expected).abs()
        return {"mean confidence": float((found.mean() - expected.mean()).abs()), "median of one": float(off.median())}

    hows = _hows(device, FLOAT64, FLOAT32, TF32)
    yield from against_float64(f"inversion, {steps} steps", confidences, apart, hows, len(method.targets(10)))


def measure(device: str, tiny: bool) -> Iterator[Row]:
    """In order of worth: where it runs out of time, the last are missing."""
    steps, num = (5, 16) if tiny else (50, 64)
    yield from passes("small_resnet", GREY, device, 16 if tiny else 64)
    state = _trained(steps)
    short = 3 if tiny else 20
    attacks: dict[str, Evasion] = {
        f"PGD-{short} linf": PGD(epsilon=0.02, steps=short),
        f"PGD-{short} l2": PGD(norm="l2", epsilon=0.5, steps=short),
        f"APGD-{short} linf": APGD(epsilon=0.02, steps=short),
        f"APGD-{short} l2, targeted DLR": APGD(norm="l2", epsilon=0.5, steps=short, loss="targeted_dlr", targets=3),
    }
    for name, method in attacks.items():
        yield from attack(method, name, state, device, num)
    yield from inversion(state, device, *((3, 1) if tiny else (50, 4)))
    yield from trainings(device, steps)
    yield from twice(device)
    if not tiny:
        yield from passes("resnet18", _COLOUR, device, 8)  # float64 on a CPU
        yield from attack(Square(epsilon=0.02, queries=200), "Square, 200 queries", state, device, 64)
        yield from attack(AutoAttackQuick(epsilon=0.02), "autoattack_quick linf", state, device, 64)
