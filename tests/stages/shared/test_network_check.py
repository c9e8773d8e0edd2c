"""A network is measured if its logits are numbers, of one image each, and the same each time."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import command
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark import registry
from benchmark.evasion.fgsm import FGSM
from benchmark.evasion.pgd import PGD
from benchmark.models.classifier import Architecture, InputInfo
from benchmark.regimes.standard import Standard
from benchmark.regimes.untrained import Untrained
from benchmark.spec import SpecError
from benchmark.stages.evade import Evade
from benchmark.stages.shared import network_check
from benchmark.stages.shared.clean_check import check_clean_accuracy
from benchmark.stages.shared.inputs import apply
from benchmark.stages.shared.network_check import NUM_IMAGES, check_network, check_users_network
from benchmark.user_files import include

INFO = InputInfo(3, 32, 32, 4, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
CPU = torch.device("cpu")


class Wrapped(nn.Module):
    """A network with something done to its input or output."""

    def __init__(self, forward: Callable[["Wrapped", Tensor], Any]) -> None:
        super().__init__()
        torch.nn.init.normal_((linear := nn.Linear(6, 4)).weight, generator=torch.Generator().manual_seed(0))
        first = nn.Conv2d(3, 6, 3)
        torch.nn.init.normal_(first.weight, std=0.3, generator=torch.Generator().manual_seed(1))
        self.net = nn.Sequential(first, nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear)
        self.calls, self._forward = 0, forward

    def forward(self, x: Tensor) -> Any:
        self.calls += 1
        return self._forward(self, x)


def images(num: int = NUM_IMAGES) -> Tensor:
    return torch.rand(num, 3, 32, 32, generator=torch.Generator().manual_seed(2))


def reseeding(self: Wrapped, x: Tensor) -> Tensor:
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    return cast(Tensor, self.net(x + 0.3 * noise))


RANDOM, TOGETHER = "two passes over the same images differ by ", "its logits of an image depend on the other images of "
PLACE = "its logits of an image depend on its place in the batch, by "
UNFIT: dict[str, tuple[Callable[[Wrapped, Tensor], Any], str]] = {
    "noise": (lambda self, x: self.net(x + 0.3 * torch.randn_like(x)), RANDOM),
    "dropout": (lambda self, x: self.net(functional.dropout(x, 0.1, training=True)), "dropout left on?"),
    "a counter": (lambda self, x: self.net(x) + 0.1 * self.calls, "a state that it keeps?"),
    "trains itself": (lambda self, x: self.train().net(x), "it is in training mode again"),
    "seeds itself": (reseeding, PLACE),
    "minus the batch's mean": (lambda self, x: self.net(x - x.mean(0, keepdim=True)), TOGETHER),
    "by the batch's maximum": (lambda self, x: self.net(x / x.max()), TOGETHER),
    "instance of a batch": (
        lambda self, x: self.net(functional.batch_norm(x, None, None, training=True)),
        TOGETHER,
    ),
    "a tuple": (lambda self, x: (self.net(x), x), r"it gives a tuple for 3 images; allowed: float logits of (3, 4)"),
    "classes": (lambda self, x: self.net(x).argmax(1), "it gives int64 of (3,) for 3 images"),
    "integers": (lambda self, x: self.net(x).long(), "it gives int64 of (3, 4) for 3 images"),
    "other classes": (lambda self, x: self.net(x)[:, :3], "it gives float32 of (3, 3) for 3 images"),
}


@pytest.mark.parametrize(("forward", "said"), UNFIT.values(), ids=list(UNFIT))
def test_logits_that_are_not_of_one_image_are_refused(forward: Callable[[Wrapped, Tensor], Any], said: str) -> None:
    with pytest.raises(SpecError) as error:
        check_network(Wrapped(forward).eval(), images(), 4)
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "forward",
    [
        lambda self, x: self.net(x),
        lambda self, x: self.net(x).double(),
        lambda self, x: self.net(x).half(),
        lambda self, x: self.net(x).bfloat16(),
        lambda self, x: 0 * self.net(x),
        lambda self, x: self.net(x) / x.std((1, 2, 3))[:, None],
        lambda self, x: self.net(x) * torch.where(x[:, :1, 0, 0] > 0.5, torch.nan, 1),  # for `finite` to find
    ],
    ids=["plain", "double", "half", "bfloat16", "zeros", "an image's own spread", "nan"],
)
def test_others_pass(forward: Callable[[Wrapped, Tensor], Any]) -> None:
    check_network(Wrapped(forward).eval(), images(), 4)


NAMED = [
    *("softmax_regression", "small_vgg", "small_resnet", "vgg11", "resnet18", "mlp"),
    {"method": "wide_resnet_28_10", "depth": 10, "widen_factor": 2},
    *({"method": "torchvision", "name": name} for name in ("squeezenet1_1", "efficientnet_b0")),
    *({"method": "timm", "name": name} for name in ("resnet10t", "levit_128s")),
]


@pytest.mark.slow
@pytest.mark.parametrize("named", NAMED, ids=lambda value: value if isinstance(value, str) else str(value.values()))
def test_rounding_stays_far_below_the_tolerance(named: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With fresh weights, and with the batch norm of a network that has seen images."""
    monkeypatch.setattr(network_check, "_TOLERANCE", 3e-5)
    architecture = registry.parse("architecture", named)
    assert isinstance(architecture, Architecture)
    model = architecture.build(INFO)
    model.initialise(torch.Generator().manual_seed(0))
    check_network(model.eval(), images(), 4)
    with torch.no_grad():
        model.train()(images(8))
    check_network(model.eval(), images(), 4)


USERS = """
import itertools
import torch
from torch import nn
class Odd(nn.Module):
    def __init__(self, num_classes, forward):
        super().__init__()
        self.pool, self.linear, self._forward = nn.AdaptiveAvgPool2d(1), nn.Linear(1, num_classes), forward
    def plain(self, x):
        return self.linear(self.pool(x).mean((1, 2, 3))[:, None])
    def forward(self, x):
        return self._forward(self, x)
def fine(num_classes, **_):
    return Odd(num_classes, lambda self, x: self.plain(x))
def tuple_in_training(num_classes, **_):
    return Odd(num_classes, lambda self, x: (self.plain(x), x) if self.training else self.plain(x))
def dict_in_training(num_classes, **_):
    return Odd(num_classes, lambda self, x: {"logits": self.plain(x)} if self.training else self.plain(x))
def narrow_in_training(num_classes, **_):
    return Odd(num_classes, lambda self, x: self.plain(x)[:, : 2 if self.training else None])
def detached(num_classes, **_):
    return Odd(num_classes, lambda self, x: self.plain(x).detach())
def nan_in_training(num_classes, **_):
    return Odd(num_classes, lambda self, x: self.plain(x).log() if self.training else self.plain(x))
def breaks_in_training(num_classes, **_):
    return Odd(num_classes, lambda self, x: self.missing(x) if self.training else self.plain(x))
def drifting_behind_a_head_of_zeros(num_classes, **_):
    passes = itertools.count()
    made = Odd(num_classes, lambda self, x: self.plain(x + next(passes)))
    nn.init.zeros_(made.linear.weight)
    return made
def not_a_number(num_classes, **_):
    return Odd(num_classes, lambda self, x: self.plain(x) / 0)
def no_features(channels, height, width, num_classes):
    return nn.Sequential(nn.Conv2d(channels, num_classes, (height, width)), nn.Flatten())
"""
WRONG = {
    "tuple_in_training": "in training mode it gives a tuple for 3 images; allowed: float logits of (3, 4)",
    "dict_in_training": "in training mode it gives a dict for 3 images",
    "narrow_in_training": "in training mode it gives float32 of (3, 2) for 3 images",
    "detached": "it has nothing to train: 2 weights want gradients, and its logits give them none",
    "nan_in_training": "in training mode its loss is nan, with fresh weights, on images of noise",
    "breaks_in_training": "line 26: AttributeError: 'Odd' object has no attribute 'missing'",
    "drifting_behind_a_head_of_zeros": "two passes over the same images differ by ",
    "not_a_number": "its logits hold NaN or infinity, with fresh weights, on images of noise",
    "no_features": "has neither a global pool nor a linear layer for features",
}


def users(tmp_path: Path, name: str) -> Architecture:
    (tmp_path / "mine.py").write_text(USERS)
    include.load(str(tmp_path / "mine.py"))
    found = registry.parse("architecture", {"method": "function", "function": f"mine:{name}"})
    assert isinstance(found, Architecture)
    return found


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(("name", "said"), WRONG.items(), ids=list(WRONG))
def test_a_function_is_tried_in_both_modes_before_it_is_trained(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(SpecError) as error:
        check_users_network(users(tmp_path, name), Standard(), INFO)
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.usefixtures("registered")
def test_what_is_not_trained_need_not_be_trainable(tmp_path: Path) -> None:
    check_users_network(users(tmp_path, "fine"), Standard(), INFO)
    check_users_network(users(tmp_path, "tuple_in_training"), Untrained(), INFO)


@pytest.mark.usefixtures("registered")
def test_the_plan_says_whose_network_it_is(tmp_path: Path) -> None:
    users(tmp_path, "fine")
    arguments = ("--include", tmp_path / "mine.py", "--results", tmp_path / "results")
    for place, where in (("models.1", "models[1]"), ("evaluators.robust", "evaluators.robust")):
        function = {"method": "function", "function": "mine:tuple_in_training"}
        suite = command.write(tmp_path, command.tiny((f"{place}.architecture", function)))
        line = command.refusal(command.call("plan", suite, *arguments))
        assert line.startswith(f"{where}.architecture: in training mode it gives a tuple for 3 images")


def one_is_nan(self: Wrapped, x: Tensor) -> Tensor:
    """For black images."""
    return cast(Tensor, self.net(x)) * torch.where(x.amax((1, 2, 3)) > 0, 1.0, torch.nan)[:, None]


def test_nan_is_counted_and_is_no_class() -> None:
    pixels = (255 * images(1000)).byte()
    pixels[700] = 0
    network = Wrapped(one_is_nan).eval()
    assert len(apply(network, pixels[:700], CPU)) == 700
    for forward in (one_is_nan, lambda self, x: one_is_nan(self, x).nan_to_num(torch.inf)):
        with pytest.raises(FloatingPointError, match="^the network gives NaN or infinity for 1 of 1000 images$"):
            apply(Wrapped(forward).eval(), pixels, CPU)
    with pytest.raises(FloatingPointError, match="for 1 of 1000 images"):
        check_clean_accuracy(cast(Any, network), pixels, torch.zeros(1000).long(), INFO, 1.0, CPU, torch.Generator())


@pytest.mark.parametrize("attack", [PGD(epsilon=0.1, steps=3), FGSM(epsilon=0.1)])
def test_an_attack_on_nan_measures_nothing(attack: PGD | FGSM) -> None:
    """Its class would be 0, which is right for all: robust accuracy 1."""
    stage = Evade(attack=attack)
    context = cast(Any, SimpleNamespace(device=CPU, generator=lambda purpose: torch.Generator()))
    broken: list[Callable[[Wrapped, Tensor], Tensor]] = [
        lambda self, x: self.net(x) * torch.nan,
        lambda self, x: self.net(x) * torch.where((x[:, :1, 0, 0] - 0.4).abs() > 0.01, torch.nan, 1),  # once it moves
    ]
    pixels = (255 * images(4)).byte()
    pixels[:, 0, 0, 0] = 102
    for forward in broken:
        with pytest.raises(FloatingPointError, match=r"^the network gives NaN or|images hold NaN; are the network's"):
            network = Wrapped(forward).eval()
            labels = network(pixels / 255).argmax(1)
            stage._attack(context, cast(Any, stage.attack), cast(Any, network), pixels, labels, "test")
