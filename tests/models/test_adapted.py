"""torchvision's and timm's networks, and the user's own functions, as classifiers."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmark import registry
from benchmark.evasion.attack import channels_last, folded, frozen, input_gradient
from benchmark.models.adapted import Adapted
from benchmark.models.classifier import Architecture, Classifier, InputInfo
from benchmark.models.small_resnet import PooledConvolution, PooledStem
from benchmark.planning import costs
from benchmark.spec import SpecError
from benchmark.user_files import include

GREY = InputInfo(1, 32, 32, 5, (0.3,), (0.4,))
COLOUR = InputInfo(3, 32, 32, 5, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
NAMES = [
    ("torchvision", "resnet18", 512),
    ("torchvision", "mobilenet_v3_small", 576),
    ("torchvision", "densenet121", 1024),
    ("torchvision", "convnext_tiny", 768),
    ("torchvision", "squeezenet1_1", 5),  # its last convolution gives the logits
    ("torchvision", "vit_b_32", 768),
    ("timm", "resnet10t", 512),
    ("timm", "convnext_atto", 320),
    ("timm", "vit_tiny_patch16_224", 192),
]


def build(library: str, name: str, info: InputInfo, seed: int = 0) -> Classifier:
    architecture = registry.parse("architecture", {"method": library, "name": name})
    assert isinstance(architecture, Architecture)
    model = architecture.build(info)
    model.initialise(torch.Generator().manual_seed(seed))
    return model.eval()


@pytest.mark.slow
@pytest.mark.parametrize(("library", "name", "width"), NAMES)
def test_a_network_by_name_takes_grey_images_and_gives_features(library: str, name: str, width: int) -> None:
    before = torch.get_rng_state()
    model = build(library, name, GREY)
    assert torch.equal(torch.get_rng_state(), before)
    x = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        logits, features = model(x), model.features(x)
    assert (features.shape, logits.shape) == ((2, width), (2, 5))
    assert logits.isfinite().all() and features.isfinite().all()
    if width != 5:
        again = build(library, name, GREY).state_dict()
        assert all(torch.equal(again[key], tensor) for key, tensor in model.state_dict().items())
        different = build(library, name, GREY, seed=1).state_dict()
        assert any(not torch.equal(different[key], tensor) for key, tensor in model.state_dict().items())


def test_features_are_the_pooled_last_convolution() -> None:
    """torchvision's ResNet, walked by hand."""
    model = build("torchvision", "resnet18", COLOUR)
    x = torch.rand(2, 3, 32, 32)
    net, (mean, std) = model.body, (torch.tensor(v).view(1, 3, 1, 1) for v in (COLOUR.mean, COLOUR.std))
    with torch.no_grad():
        maps = net.maxpool(net.relu(net.bn1(net.conv1((x - mean) / std))))
        for layer in (net.layer1, net.layer2, net.layer3, net.layer4):
            maps = layer(maps)
        torch.testing.assert_close(model.features(x), maps.mean((2, 3)))
        torch.testing.assert_close(model(x), net.fc(maps.mean((2, 3))))


def test_attacks_may_fold_and_freeze_it() -> None:
    model = build("torchvision", "resnet18", COLOUR)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.uniform_(-1, 1)
    x, y = torch.rand(2, 3, 32, 32), torch.tensor([0, 1])
    plain = input_gradient(copy.deepcopy(model), x, y)
    with frozen(model), channels_last(model), folded(model):
        found = input_gradient(model, x, y)
    for a, b in zip(plain, found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


class NormWithActivation(nn.BatchNorm2d):
    """As timm's: a batch norm that is more than one."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).relu()


class Standardised(nn.Conv2d):
    """As timm's: a convolution that computes its kernel from its weights."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spread = self.weight.std((1, 2, 3), keepdim=True)
        return nn.functional.conv2d(x, self.weight / spread, self.bias)


@pytest.mark.parametrize(
    "layers",
    [
        (nn.Conv2d(3, 4, 3), NormWithActivation(4)),
        (Standardised(3, 4, 3), nn.BatchNorm2d(4)),
        (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)),
        (PooledStem(3, 4), nn.BatchNorm2d(4)),
        (PooledConvolution(3, 4), nn.BatchNorm2d(4)),
    ],
    ids=["norm and activation", "standardised", "plain", "pooled stem", "pooled convolution"],
)
def test_folding_keeps_the_function_of_layers_that_are_more_than_their_parents(layers: tuple[nn.Module, ...]) -> None:
    network = nn.Sequential(*layers).eval()
    network[1].running_mean.fill_(0.5)
    network[1].running_var.fill_(0.3)
    x = torch.rand(2, 3, 8, 8)
    with torch.no_grad():
        plain = network(x)
        with folded(network):
            torch.testing.assert_close(network(x), plain, rtol=1e-4, atol=1e-5)
            was_folded = isinstance(network[1], nn.Identity)
    foldable = (nn.Conv2d, PooledStem, PooledConvolution)
    assert was_folded == (type(layers[0]) in foldable and type(layers[1]) is nn.BatchNorm2d)


class ChannelsLastPool(nn.AdaptiveAvgPool2d):
    """As timm's for Swin: of (N, H, W, C), to (N, C)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((1, 2))


def test_a_pool_may_have_its_channels_last() -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pool, self.head = ChannelsLastPool(1), nn.Linear(3, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.pool(x.permute(0, 2, 3, 1)))

    x = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(Adapted(COLOUR.unnormalised(), Last).features(x), x.mean((2, 3)))


def test_a_pool_to_several_places_counts_as_one_to_a_single_place() -> None:
    layers = [nn.AdaptiveAvgPool2d((2, 2)), nn.Flatten(), nn.Linear(12, 5)]
    x = torch.rand(2, 3, 33, 32)
    model = Adapted(COLOUR.unnormalised(), lambda: nn.Sequential(*layers))
    torch.testing.assert_close(model.features(x), x.mean((2, 3)))


def test_costs_count_its_convolutions() -> None:
    """resnet18 on 32 x 32: the stem alone has 16 x 16 places of 64 sums over 3 x 7 x 7 pixels."""
    architecture = registry.parse("architecture", {"method": "torchvision", "name": "resnet18"})
    sizes = costs.Sizes(COLOUR, 1, 1, 1, 1)
    stem = 2 * 16 * 16 * 64 * 147
    blocks = 2 * 9 * (4 * 64 * 64 * 64 + (64 + 3 * 128) * 128 * 16 + (128 + 3 * 256) * 256 * 4 + (256 + 3 * 512) * 512)
    shortcuts = 2 * (64 * 128 * 16 + 128 * 256 * 4 + 256 * 512)
    assert costs.forward(architecture, sizes) == stem + blocks + shortcuts + 2 * 512 * 5


def test_unknown_names_are_one_line_with_the_nearest() -> None:
    with pytest.raises(SpecError, match="no classifier 'resnet81' .did you mean 'resnet18'"):
        registry.parse("architecture", {"method": "torchvision", "name": "resnet81"})
    with pytest.raises(SpecError, match="timm has no architecture 'resnet10x' .did you mean 'resnet10"):
        registry.parse("architecture", {"method": "timm", "name": "resnet10x"})


def test_images_that_a_network_cannot_take_are_one_line() -> None:
    architecture = registry.parse("architecture", {"method": "torchvision", "name": "inception_v3"})
    with pytest.raises(ValueError, match="takes no images of 3 x 32 x 32 pixels"):
        costs.forward(architecture, costs.Sizes(COLOUR, 1, 1, 1, 1))


def test_images_that_do_not_divide_into_patches_are_one_line() -> None:
    architecture = registry.parse("architecture", {"method": "torchvision", "name": "vit_b_32"})
    odd = InputInfo(3, 28, 28, 5, COLOUR.mean, COLOUR.std)
    with pytest.raises(ValueError, match="takes no images of 3 x 28 x 28 pixels"):
        costs.forward(architecture, costs.Sizes(odd, 1, 1, 1, 1))


MAKE = """
import torch
def make(channels, height, width, num_classes):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(channels * height * width, num_classes))
def two(**_):
    return torch.nn.Flatten()
def number(**_):
    return 3
def fails(**_):
    return {}["width"]
class Table(torch.nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.register_buffer("places", torch.arange(num_classes))
        self.linear = torch.nn.Linear(1, num_classes)
    def forward(self, x):
        if not torch.equal(self.places, torch.arange(len(self.places))):
            raise ValueError("the table is lost")
        return self.linear(x.mean((1, 2, 3))[:, None])[:, self.places]
def table(num_classes, **_):
    return Table(num_classes)
CONSTANT = 1
"""


@pytest.mark.usefixtures("registered")
def test_costs_leave_the_tables_of_a_network_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MAKE)
    include.load(str(tmp_path / "mine.py"))
    spec = registry.parse("architecture", {"method": "function", "function": "mine:table"})
    assert costs.forward(spec, costs.Sizes(GREY, 1, 1, 1, 1)) == 2 * 5
    broken = registry.parse("architecture", {"method": "function", "function": "mine:fails"})
    with pytest.raises(SpecError, match=r"^function 'mine:fails' line 10: KeyError: 'width'$"):
        costs.forward(broken, costs.Sizes(GREY, 1, 1, 1, 1))


@pytest.mark.usefixtures("registered")
def test_a_function_of_an_included_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MAKE)
    include.load(str(file))
    spec = registry.parse("architecture", {"method": "function", "function": "mine:make", "normalise": False})
    assert isinstance(spec, Architecture)
    model = spec.build(GREY)
    model.initialise(torch.Generator().manual_seed(0))
    assert isinstance(model, Adapted)
    x = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        layer = model.body[1]
        torch.testing.assert_close(model(x), layer(x.flatten(1)))
        torch.testing.assert_close(model.features(x), x.flatten(1))
    assert len(registry.dump("architecture", spec)["source_sha256"]) == 64
    assert registry.parse("architecture", registry.dump("architecture", spec)) == spec
    for name, why in (
        ("mine:nothing", "mine.py has no function 'nothing'"),
        ("mine:CONSTANT", "mine.py has no function 'CONSTANT'"),
        ("other:make", "names no included file; allowed: FILE:FUNCTION with `--include FILE.py` .mine."),
        ("make", "names no included file"),
    ):
        with pytest.raises(SpecError, match=why):
            registry.parse("architecture", {"method": "function", "function": name})
    for name, why in (("two", r"gives logits of \(1, 1024\); allowed: \(1, 5\)"), ("number", "returned a int")):
        broken = registry.parse("architecture", {"method": "function", "function": f"mine:{name}"})
        assert isinstance(broken, Architecture)
        with pytest.raises(SpecError, match=why):
            broken.build(GREY)
