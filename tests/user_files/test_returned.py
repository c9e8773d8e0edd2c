"""What a user's method lacks or returns wrong ends in one line that names kind, name and what is allowed."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import nn

from benchmark import data, registry
from benchmark.data.images import ImageData
from benchmark.evasion.attack import Perturbed
from benchmark.evasion.attack import checked as perturbed
from benchmark.inversion.attack import checked as reconstructed
from benchmark.membership.attack import checked as inferred
from benchmark.models.classifier import InputInfo
from benchmark.regimes.regime import checked as trained
from benchmark.spec import SpecError
from benchmark.stages.evade import Evade
from benchmark.user_files import include

X = torch.zeros(2, 1, 4, 4)
LOSS = torch.zeros(1)
TARGETS = torch.arange(2)


def sound(**changed: Any) -> dict[str, Any]:
    images, labels = torch.zeros(3, 1, 4, 4, dtype=torch.uint8), torch.arange(3)
    arrays = {"images": images, "labels": labels, "test_images": images, "test_labels": labels}
    return {**arrays, "class_names": ("a", "b", "c"), "mean": (0.5,), "std": (0.5,), "card": "", **changed}


WRONG: list[tuple[Any, str]] = [
    (
        lambda: perturbed(X, X, "evasion 'm'"),
        "evasion 'm': perturb returned float32 of (2, 1, 4, 4); allowed: Perturbed(",
    ),
    (
        lambda: perturbed(Perturbed(X.double(), LOSS), X, "evasion 'm'"),
        "evasion 'm': perturb returned images: float64 of",
    ),
    (lambda: perturbed(Perturbed(X[:1], LOSS), X, "evasion 'm'"), "(1, 1, 4, 4); allowed: float32 of (2, 1, 4, 4)"),
    (
        lambda: perturbed(Perturbed(X, LOSS.sum()), X, "evasion 'm'"),
        "a loss: float32 of (); allowed: float of (steps,)",
    ),
    (
        lambda: reconstructed(None, TARGETS, (1, 4, 4), 2, "inversion 'm'"),
        "inversion 'm': reconstruct returned: nothing",
    ),
    (
        lambda: reconstructed(X[0], TARGETS, (1, 4, 4), 2, "inversion 'm'"),
        "float32 of (1, 4, 4); allowed: float32 of (2, 1",
    ),
    (lambda: reconstructed(X - 1, TARGETS, (1, 4, 4), 2, "inversion 'm'"), "pixels from -1 to -1; allowed: [0, 1]"),
    (
        lambda: reconstructed(X, TARGETS[:1], (1, 4, 4), 2, "inversion 'm'"),
        "targets returned: int64 of (1,); allowed: int64",
    ),
    (lambda: reconstructed(X / 0, TARGETS, (1, 4, 4), 2, "inversion 'm'"), "inversion 'm': reconstructions hold NaN"),
    (
        lambda: inferred(X, 4, "membership 'm'"),
        "membership 'm': scores returned: float64 of (2, 1, 4, 4); allowed: float64 of (4,)",
    ),
    (lambda: inferred(None, 4, "membership 'm'"), "membership 'm': scores returned: nothing (None); allowed: float64"),
    (lambda: inferred(TARGETS, 2, "membership 'm'"), "int64 of (2,); allowed: float64 of (2,)"),
    (
        lambda: inferred(X.flatten() / 0, 32, "membership 'm'"),
        "scores returned NaN or infinity for 32 of 32 images",
    ),
    (
        lambda: trained(nn.Linear(1, 1), nn.Linear(1, 1), "regime 'm'"),
        "regime 'm': fit returned a Linear; allowed: a list",
    ),
    (lambda: trained(None, nn.Linear(1, 1), "regime 'm'"), "regime 'm': fit returned nothing (None); allowed: a list"),
    (
        lambda: trained([1.0], nn.Linear(1, 1).train(), "regime 'm'"),
        "regime 'm': fit left the network in training mode",
    ),
    (lambda: ImageData(**sound(images=X)), "images: float32 of (2, 1, 4, 4); allowed: uint8 of (N, C, H, W)"),
    (
        lambda: ImageData(**sound(test_labels=torch.arange(3).int())),
        "test_labels: int32 of (3,); allowed: int64 of (3,)",
    ),
    (lambda: ImageData(**sound(class_names=("a",))), "labels: from 0 to 2; allowed: 0 to 0"),
    (lambda: ImageData(**sound(mean=(0.5, 0.5))), "mean, std: 2 and 1 numbers; allowed: one a channel, 1"),
]


@pytest.mark.parametrize(("call", "said"), WRONG, ids=[said[:40] for _, said in WRONG])
def test_what_is_returned_wrong_is_one_line(call: Any, said: str) -> None:
    with pytest.raises((SpecError, FloatingPointError)) as error:
        call()
    assert said in str(error.value) and "\n" not in str(error.value)


def test_what_is_right_passes() -> None:
    assert perturbed(Perturbed(X, LOSS), X, "").images is X
    assert reconstructed(X, TARGETS, (1, 4, 4), 2, "") is X
    assert inferred(X.flatten(), 32, "").dtype == torch.float64
    assert trained([1, 0.5], nn.Linear(1, 1).eval(), "") == [1, 0.5]
    ImageData(**sound())


LACKING = [
    ("data", "data.images", "Dataset", "load"),
    ("architecture", "models.classifier", "Architecture", "network"),
    ("regime", "regimes.regime", "Regime", "fit"),
    ("evasion", "evasion.attack", "Evasion", "perturb"),
    ("inversion", "inversion.attack", "Inversion", "reconstruct"),
    ("prior", "inversion.prior", "Prior", "fit, operations, sampler"),
    ("membership", "membership.attack", "MembershipAttack", "scores"),
    ("stage", "trials.trial", "Stage", "run"),
]


def included(folder: Path, text: str) -> None:
    (folder / "mine.py").write_text(text)
    include.load(str(folder / "mine.py"))


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(("kind", "module", "base", "methods"), LACKING, ids=[each[0] for each in LACKING])
def test_a_class_without_its_method_is_refused_when_it_registers(
    tmp_path: Path, kind: str, module: str, base: str, methods: str
) -> None:
    text = f"from benchmark.{module} import {base}\nfrom benchmark.registry import register\nclass Mine({base}): ...\n"
    with pytest.raises(SpecError) as error:
        included(tmp_path, f"{text}register({kind!r}, 'mine', Mine)")
    said = f"line 4: {kind} 'mine': Mine does not define {methods}; allowed: a class that does"
    assert str(error.value).endswith(said) and "mine" not in registry.KINDS[kind]


@pytest.mark.usefixtures("registered")
def test_what_is_no_membership_attack_is_none(tmp_path: Path) -> None:
    text = "from benchmark.spec import Spec\nfrom benchmark.registry import register\nclass Mine(Spec): ...\n"
    with pytest.raises(SpecError, match=r"membership 'mine' is .*; allowed: a subclass of MembershipAttack at the top"):
        included(tmp_path, f"{text}register('membership', 'mine', Mine)")


USERS = """
import torch
from benchmark.data.images import Dataset, ImageData
from benchmark.evasion.attack import Evasion, Perturbed
from benchmark.models.classifier import Architecture
from benchmark.registry import register

class Floats(Dataset):
    def load(self, root):
        images, labels = torch.rand(4, 1, 4, 4), torch.zeros(4).long()
        return ImageData(images, labels, images, labels, ("a",), (0.5,), (0.5,), "")

class Nothing(Dataset):
    def load(self, root):
        return None

class Plain(Architecture):
    def network(self, info):
        return torch.nn.Flatten()

class Far(Evasion):
    def perturb(self, model, images, labels, generator):
        return Perturbed(images + 0.5, torch.zeros(1))

register("data", "floats", Floats)
register("data", "nothing", Nothing)
register("architecture", "plain", Plain)
register("evasion", "far", Far)
"""


@pytest.mark.usefixtures("registered")
def test_the_line_names_the_method_wherever_it_is_used(tmp_path: Path) -> None:
    included(tmp_path, USERS)
    with pytest.raises(SpecError, match=r"^data 'floats': images: float32 of \(4, 1, 4, 4\); allowed: uint8"):
        data.load(registry.parse("data", "floats"), None)
    with pytest.raises(SpecError, match=r"^data 'nothing': load returned nothing \(None\); allowed: an ImageData$"):
        data.load(registry.parse("data", "nothing"), None)
    with pytest.raises(SpecError, match=r"^network returned a Flatten; allowed: a Classifier$"):
        cast(Any, registry.parse("architecture", "plain")).build(InputInfo(1, 4, 4, 2, (0.5,), (0.5,)))
    context = cast(Any, SimpleNamespace(device=torch.device("cpu"), generator=lambda purpose: torch.Generator()))
    stage = Evade(attack=registry.parse("evasion", {"method": "far", "epsilon": 0.1}))
    network, pixels = cast(Any, nn.Sequential(nn.Flatten(), nn.Linear(16, 2)).eval()), (X * 255).byte()
    with pytest.raises(
        ValueError, match=r"^evasion 'far' left its ball or \[0, 1\]: largest distance 0.5; allowed: 0.1$"
    ):
        stage._attack(context, cast(Any, stage.attack), network, pixels, TARGETS, "test")
