"""Checkpoints of other code: the same logits from the same weights, and no code from a file is run."""

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from benchmark import registry
from benchmark.models.checkpoint import fit, normalisation_in, read
from benchmark.models.classifier import Architecture, Classifier, InputInfo
from benchmark.user_files import include

INFO = InputInfo(3, 32, 32, 10, (0.0,) * 3, (1.0,) * 3)


def ours(method: str, **settings: object) -> Classifier:
    architecture = registry.parse("architecture", {"method": method, **settings})
    assert isinstance(architecture, Architecture)
    model = architecture.build(INFO)
    model.initialise(torch.Generator().manual_seed(0))
    return model.eval()


def conv(i: int, o: int, k: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(i, o, k, stride, k // 2, bias=False)


class Basic(nn.Module):
    def __init__(self, i: int, o: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(i, o, 3, stride), nn.BatchNorm2d(o)
        self.conv2, self.bn2 = conv(o, o, 3), nn.BatchNorm2d(o)
        self.shortcut = nn.Sequential()
        if stride != 1 or i != o:
            self.shortcut = nn.Sequential(conv(i, o, 1, stride), nn.BatchNorm2d(o))

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        return functional.relu(out + self.shortcut(x))


class Bottle(nn.Module):
    def __init__(self, i: int, o: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(i, o, 1), nn.BatchNorm2d(o)
        self.conv2, self.bn2 = conv(o, o, 3, stride), nn.BatchNorm2d(o)
        self.conv3, self.bn3 = conv(o, 4 * o, 1), nn.BatchNorm2d(4 * o)
        self.shortcut = nn.Sequential()
        if stride != 1 or i != 4 * o:
            self.shortcut = nn.Sequential(conv(i, 4 * o, 1, stride), nn.BatchNorm2d(4 * o))

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.bn1(self.conv1(x)))
        out = self.bn3(self.conv3(functional.relu(self.bn2(self.conv2(out)))))
        return functional.relu(out + self.shortcut(x))


class PreAct(nn.Module):
    def __init__(self, i: int, o: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(i), conv(i, o, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(o), conv(o, o, 3)
        if stride != 1 or i != o:
            self.shortcut = nn.Sequential(conv(i, o, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        active = functional.relu(self.bn1(x))
        beside = self.shortcut(active) if hasattr(self, "shortcut") else x
        return self.conv2(functional.relu(self.bn2(self.conv1(active)))) + beside


class PlainResNet(nn.Module):
    """With the names of RobustBench's ResNets (`bn1` after the stem) and PreActResNets (`bn` before the head)."""

    def __init__(self, block: type[nn.Module], depths: tuple[int, ...], wide: int, preact: bool) -> None:
        super().__init__()
        self.preact = preact
        self.conv1 = conv(3, 64, 3)
        channels = 64
        for s, depth in enumerate(depths):
            blocks = []
            for j in range(depth):
                blocks.append(block(channels, 64 << s, 2 if s and not j else 1))
                channels = (64 << s) * wide
            setattr(self, f"layer{s + 1}", nn.Sequential(*blocks))
        setattr(self, "bn" if preact else "bn1", nn.BatchNorm2d(channels if preact else 64))
        self.linear = nn.Linear(channels, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        if not self.preact:
            x = functional.relu(self.bn1(x))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        if self.preact:
            x = functional.relu(self.bn(x))
        return self.linear(functional.avg_pool2d(x, 4).flatten(1))


class WideBasic(nn.Module):
    def __init__(self, i: int, o: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(i), conv(i, o, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(o), conv(o, o, 3)
        self.convShortcut = conv(i, o, 1, stride) if i != o else None

    def forward(self, x: Tensor) -> Tensor:
        active = functional.relu(self.bn1(x))
        out = self.conv2(functional.relu(self.bn2(self.conv1(active))))
        return out + (x if self.convShortcut is None else self.convShortcut(active))


class Group(nn.Module):
    def __init__(self, i: int, o: int, stride: int, depth: int) -> None:
        super().__init__()
        self.layer = nn.Sequential(*[WideBasic(i if not j else o, o, stride if not j else 1) for j in range(depth)])

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


class PlainWide(nn.Module):
    """With the names of RobustBench's WideResNets, TRADES' unused second block among them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = conv(3, 16, 3)
        self.block1, self.sub_block1 = Group(16, 32, 1, 2), Group(16, 32, 1, 2)
        self.block2, self.block3 = Group(32, 64, 2, 2), Group(64, 128, 2, 2)
        self.bn1, self.fc = nn.BatchNorm2d(128), nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.block3(self.block2(self.block1(self.conv1(x))))))
        return self.fc(functional.avg_pool2d(x, 8).flatten(1))


FAMILIES = {
    "resnet18": ({}, lambda: PlainResNet(Basic, (2, 2, 2, 2), 1, preact=False)),
    "resnet50": ({}, lambda: PlainResNet(Bottle, (3, 4, 6, 3), 4, preact=False)),
    "preact_resnet18": ({}, lambda: PlainResNet(PreAct, (2, 2, 2, 2), 1, preact=True)),
    "wide_resnet_28_10": ({"depth": 16, "widen_factor": 2}, PlainWide),
}


def moved(network: nn.Module) -> nn.Module:
    """With norms as after training: their statistics and gains differ from 0 and 1."""
    generator = torch.Generator().manual_seed(1)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.2, generator=generator)
            layer.running_var.uniform_(0.5, 2, generator=generator)
            nn.init.uniform_(layer.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(layer.bias, std=0.2, generator=generator)
    return network.eval()


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_robustbenchs_names_give_the_same_logits(name: str, tmp_path: Path) -> None:
    settings, make = FAMILIES[name]
    theirs = moved(make())
    torch.save(
        {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in theirs.state_dict().items()}}, tmp_path / "w.pt"
    )
    model = ours(name, **settings)
    fit(model, read(tmp_path / "w.pt").weights)
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        expected = theirs(x)
        torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-4)
        assert expected.std() > 1e-3


def test_a_normalising_model_is_recognised(tmp_path: Path) -> None:
    theirs = moved(PlainWide())
    statistics = {
        "mu": torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1),
        "sigma": torch.tensor([0.2] * 3).view(1, 3, 1, 1),
    }
    torch.save({**{f"model.{k}": v for k, v in theirs.state_dict().items()}, **statistics}, tmp_path / "w.pth")
    weights = read(tmp_path / "w.pth").weights
    mean, std = normalisation_in(weights)
    assert mean == pytest.approx((0.4, 0.5, 0.6))
    assert std == pytest.approx((0.2,) * 3)
    fit(ours("wide_resnet_28_10", depth=16, widen_factor=2), weights)
    assert normalisation_in(theirs.state_dict()) is None


@pytest.mark.slow
def test_our_own_weights_come_back(tmp_path: Path) -> None:
    first = moved(ours("resnet18"))
    save_file({k: v.contiguous() for k, v in first.state_dict().items()}, tmp_path / "w.safetensors")
    weights = read(tmp_path / "w.safetensors").weights
    second = ours("resnet18")
    fit(second, weights)
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
    assert normalisation_in(weights) == ((0.0,) * 3, (1.0,) * 3)


def test_torchvisions_state_dict_fits_torchvisions_architecture(tmp_path: Path) -> None:
    from torchvision.models import resnet18

    theirs = moved(resnet18(num_classes=10))
    torch.save(theirs.state_dict(), tmp_path / "w.pt")
    model = ours("torchvision", name="resnet18")
    fit(model, read(tmp_path / "w.pt").weights)
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(x), theirs(x))


class Hostile:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.victim,))


def test_what_would_run_code_is_refused_and_does_nothing(tmp_path: Path) -> None:
    victim, path = tmp_path / "touched", tmp_path / "w.pt"
    for save in (
        lambda: torch.save({"a": Hostile(victim)}, path),
        lambda: path.write_bytes(pickle.dumps(Hostile(victim))),
    ):
        save()
        with pytest.raises(
            ValueError, match="it is more than weights.*loading it would run code.*safetensors"
        ) as caught:
            read(path)
        assert "\n" not in str(caught.value)
        assert not victim.exists()


def test_whole_models_are_refused_with_the_way_out(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "w.pt")
    with pytest.raises(
        ValueError, match="it is more than weights .torch.nn.modules.linear.Linear.*save the state dict"
    ):
        read(tmp_path / "w.pt")


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_files_that_are_no_checkpoints(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"w.{suffix}"
    with pytest.raises(ValueError, match="is not there"):
        read(path)
    whole = {"a.weight": torch.ones(100)}
    save = save_file if suffix == "safetensors" else torch.save
    save(whole, path)
    content = path.read_bytes()
    for broken in (b"", content[: len(content) // 2], b"hello world"):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match="cannot be read") as caught:
            read(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    save({"a.weight": torch.tensor([1.0, float("nan")])}, path)
    with pytest.raises(ValueError, match="'a.weight' holds NaN or infinity"):
        read(path)
    save({}, path)
    with pytest.raises(ValueError, match="holds no weights"):
        read(path)


def test_what_does_not_fit_is_named() -> None:
    weights = dict(PlainWide().state_dict())
    weights["fc.weight"], weights["fc.bias"] = torch.zeros(7, 128), torch.zeros(7)
    weights["extra.weight"] = torch.zeros(1)
    del weights["block1.layer.0.conv1.weight"]
    with pytest.raises(ValueError, match="the checkpoint does not fit the architecture") as caught:
        fit(ours("wide_resnet_28_10", depth=16, widen_factor=2), weights)
    message = str(caught.value)
    for part in (
        "1 missing: block1.layer.0.conv1.weight",
        "1 not in the architecture: extra.weight",
        "2 of other shape: fc.bias (7,) for (10,), fc.weight (7, 128) for (10, 128)",
    ):
        assert part in message
    with pytest.raises(ValueError, match=r"missing: .* and \d+ more"):
        fit(ours("resnet18"), PlainWide().state_dict())


MAKERS = """
import torch
from torch import nn

class Normalising(nn.Module):
    'With constants of its own, under names that wrappers use too.'
    def __init__(self, num_classes):
        super().__init__()
        self.register_buffer("mu", torch.full((1, 3, 1, 1), 0.25))
        self.register_buffer("sigma", torch.full((1, 3, 1, 1), 0.5))
        self.linear = nn.Linear(3, num_classes)
    def forward(self, x):
        return self.linear(((x - self.mu) / self.sigma).mean((2, 3)))

class Outer(nn.Module):
    'Whose every name begins as if it were wrapped.'
    def __init__(self, num_classes):
        super().__init__()
        self.model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, num_classes))
    def forward(self, x):
        return self.model(x)

class TwoLayers(nn.Module):
    'Two layers with names of which other networks have one.'
    def __init__(self, num_classes):
        super().__init__()
        self.fc, self.head = nn.Linear(3, 4), nn.Linear(4, num_classes)
    def forward(self, x):
        return self.head(self.fc(x.mean((2, 3))))

def normalising(num_classes, **_): return Normalising(num_classes)
def outer(num_classes, **_): return Outer(num_classes)
def two(num_classes, **_): return TwoLayers(num_classes)
"""


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("name", ["normalising", "outer", "two"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_functions_own_state_dict_comes_back(name: str, wrapped: bool, tmp_path: Path) -> None:
    (tmp_path / "makers.py").write_text(MAKERS)
    include.load(str(tmp_path / "makers.py"))
    first, second = (ours("function", function=f"makers:{name}", normalise=False) for _ in range(2))
    with torch.no_grad():
        for tensor in first.body.state_dict().values():
            tensor.add_(0.1)
    prefix = "module." if wrapped else ""
    torch.save({prefix + k: v for k, v in first.body.state_dict().items()}, tmp_path / "w.pt")
    weights = read(tmp_path / "w.pt").weights
    parts = fit(second, weights).pairs.values()
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(second(x), first(x))
    # What the network itself subtracts must not be declared, and so subtracted, a second time.
    assert normalisation_in(weights, parts) is None
    torch.save(first.state_dict(), tmp_path / "own.pt")
    own = read(tmp_path / "own.pt").weights
    assert normalisation_in(own, fit(second, own).pairs.values()) == ((0.0,) * 3, (1.0,) * 3)


def test_constants_alone_are_no_network(tmp_path: Path) -> None:
    torch.save({"mean": torch.zeros(3), "std": torch.ones(3)}, tmp_path / "w.pt")
    weights = read(tmp_path / "w.pt").weights
    assert normalisation_in(weights) == ((0.0,) * 3, (1.0,) * 3)
    with pytest.raises(ValueError, match="the checkpoint does not fit the architecture: 2 missing"):
        fit(ours("softmax_regression"), weights)


def test_two_heads_are_not_taken_for_one() -> None:
    weights = dict(PlainWide().state_dict())
    weights["linear.weight"] = torch.zeros(10, 128)
    with pytest.raises(ValueError, match="does not fit the architecture"):
        fit(ours("wide_resnet_28_10", depth=16, widen_factor=2), weights)
