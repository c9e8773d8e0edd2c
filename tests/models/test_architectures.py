import functools

import pytest
import torch
import torchvision
from safetensors.torch import load, save
from torch.nn import functional

from benchmark import registry
from benchmark.models.classifier import Architecture, Classifier, InputInfo
from benchmark.models.small_resnet import PooledConvolution, PooledStem, SmallResNet
from benchmark.models.vgg import VGG16
from benchmark.regimes.sgd import SGD
from perf.training import as_plain

GREY_28 = InputInfo(1, 28, 28, 10, (0.3,), (0.4,))
COLOUR_32 = InputInfo(3, 32, 32, 7, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
TRAINED = sorted(
    registry.ARCHITECTURE.keys() - {"memoriser", "torchvision", "timm", "function", "in_memory", "group_norm"}
)
SMALLER = {"wide_resnet_28_10": {"depth": 10, "widen_factor": 2}}
"""Settings under which a large network is computed with; parameters are counted at its own."""

# architecture: features wide, parameters of GREY_28, parameters of COLOUR_32 with 10 classes
EXPECTED = {
    "softmax_regression": (784, 784 * 10 + 10, 3072 * 10 + 10),
    # 3x3 convolutions c-16-32-64-64, a gain and an offset a channel, a linear head
    "small_vgg": (64, 144 + 4608 + 18432 + 36864 + 2 * 176 + 650, 432 + 4608 + 18432 + 36864 + 2 * 176 + 650),
    # stem, then i-o blocks of o(9i + 9o + i) weights at 16-16, 16-32, 32-64, then norms and head
    "small_resnet": (64, 144 + 4864 + 14336 + 57344 + 480 + 650, 432 + 4864 + 14336 + 57344 + 480 + 650),
    # 14,728,266 as usually given, less the 4,224 convolution biases that batch norm makes useless
    "vgg16": (512, 14_724_042 - 2 * 64 * 9, 14_724_042),
    "resnet18": (512, 11_173_962 - 2 * 64 * 9, 11_173_962),
    # configuration A has convolutions 3-64-128-256-256-512-512-512-512
    "vgg11": (512, 9_228_362 - 2 * 64 * 9, 9 * (192 + 8192 + 32768 + 65536 + 131072 + 3 * 262144) + 2 * 2752 + 5130),
    "resnet50": (2048, 23_520_842 - 2 * 64 * 9, 23_520_842),
    "preact_resnet18": (512, 11_172_170 - 2 * 64 * 9, 11_172_170),
    "wide_resnet_28_10": (128, 36_479_194 - 2 * 16 * 9, 36_479_194),
    "mlp": (512, 784 * 512 + 512 * 512 + 1024 + 5130, 3072 * 512 + 512 * 512 + 1024 + 5130),
}


def architecture(name: str) -> Architecture:
    found = registry.parse("architecture", {"method": name, **SMALLER.get(name, {})})
    assert isinstance(found, Architecture)
    return found


@functools.lru_cache(maxsize=4)  # tests of one architecture run one after the other: `scope="module"`
def made(name: str, info: InputInfo = GREY_28, seed: int = 0) -> Classifier:
    """A shared model in eval mode; a test that changes it asks `fresh` for one of its own."""
    return fresh(name, info, seed)


def fresh(name: str, info: InputInfo = GREY_28, seed: int = 0) -> Classifier:
    model = architecture(name).build(info)
    model.initialise(torch.Generator().manual_seed(seed))
    return model.eval()


def images(info: InputInfo, num: int = 2) -> torch.Tensor:
    return torch.rand(num, info.channels, info.height, info.width, generator=torch.Generator().manual_seed(7))


def test_every_architecture_is_held_to_its_size() -> None:
    assert TRAINED == sorted(EXPECTED)


@pytest.mark.parametrize("name", TRAINED, scope="module")
def test_the_number_of_parameters_is_the_published_one(name: str) -> None:
    colour_10 = InputInfo(3, 32, 32, 10, COLOUR_32.mean, COLOUR_32.std)
    full = registry.parse("architecture", name)
    assert isinstance(full, Architecture)
    with torch.device("meta"):
        found = [sum(p.numel() for p in full.network(info).parameters()) for info in (GREY_28, colour_10)]
    assert found == list(EXPECTED[name][1:])


@pytest.mark.slow
@pytest.mark.parametrize("info", [GREY_28, COLOUR_32], ids=["1x28x28", "3x32x32"])
@pytest.mark.parametrize("name", TRAINED, scope="module")
def test_logits_are_the_head_on_the_features(name: str, info: InputInfo) -> None:
    model, x = made(name, info), images(info)
    with torch.no_grad():
        features, logits = model.features(x), model(x)
        assert torch.equal(model.head(features), logits)
    wide = EXPECTED[name][0] if name != "softmax_regression" else x[0].numel()
    assert (features.shape, logits.shape) == ((2, wide), (2, info.num_classes))
    assert logits.std() > 0 and torch.isfinite(logits).all()


@pytest.mark.parametrize("name", TRAINED, scope="module")
def test_normalisation_is_inside(name: str) -> None:
    """The same layers on images that were normalised by hand give the same logits."""
    model, x = made(name, COLOUR_32), images(COLOUR_32)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (COLOUR_32.mean, COLOUR_32.std))
    with torch.no_grad():
        plain = model.head(model.body((x - mean) / std))
        torch.testing.assert_close(model(x), plain, rtol=1e-5, atol=1e-6)
        assert not torch.allclose(model.head(model.body(x)), plain, rtol=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED, scope="module")
def test_weights_come_from_the_generator_alone(name: str) -> None:
    before = torch.get_rng_state()
    first, again, other = made(name), fresh(name), fresh(name, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True))
    assert not torch.equal(first.head.weight, other.head.weight)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED, scope="module")
def test_weights_survive_safetensors(name: str) -> None:
    model, x = fresh(name, COLOUR_32), images(COLOUR_32)
    model.train()(x)  # moves the running statistics of batch norm off their start
    stored = save({key: value.contiguous() for key, value in model.state_dict().items()})
    loaded = architecture(name).build(COLOUR_32).eval()
    loaded.load(load(stored))
    with torch.no_grad():
        assert torch.equal(loaded(x), model.eval()(x))


def test_weights_of_another_model_are_refused() -> None:
    with pytest.raises(RuntimeError, match=r"size mismatch for head\.weight"):
        fresh("softmax_regression").load(made("softmax_regression", COLOUR_32).state_dict())


@pytest.mark.parametrize("name", ["small_vgg", "small_resnet"])
def test_features_do_not_depend_on_the_memory_layout(name: str) -> None:
    model, x = fresh(name), images(GREY_28)
    with torch.no_grad():
        torch.testing.assert_close(model(x.to(memory_format=torch.channels_last)), model(x))
        torch.testing.assert_close(model.to(memory_format=torch.contiguous_format)(x), model(x))


def test_he_weights_have_the_spread_of_their_fan_out() -> None:
    wide = [
        m for m in made("resnet18").modules() if isinstance(m, torch.nn.Conv2d) and m.weight.shape == (512, 256, 3, 3)
    ]
    assert wide[0].weight.std().item() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)


def test_resnet18_computes_what_torchvision_computes() -> None:
    """torchvision's ResNet-18 with the stem for small images and our weights: the same logits."""
    ours = made("resnet18", COLOUR_32)
    theirs = torchvision.models.resnet18(num_classes=7)
    theirs.conv1, theirs.maxpool = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False), torch.nn.Identity()
    with torch.no_grad():
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            other.copy_(mine)
        x = images(COLOUR_32)
        torch.testing.assert_close(ours(x), theirs.eval()((x - ours.mean) / ours.std), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("made_as", [PooledStem, PooledConvolution])
@pytest.mark.parametrize(("height", "width"), [(28, 28), (32, 20), (9, 12), (8, 7), (3, 2)])
def test_a_pooled_convolution_is_a_convolution_and_a_pool(
    made_as: type[PooledStem | PooledConvolution], height: int, width: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    layer = made_as(2, 5).double()
    with torch.no_grad():
        layer.weight.normal_(generator=generator)
    x = torch.rand(3, 2, height, width, generator=generator, dtype=torch.float64, requires_grad=True)
    out = layer(x)
    plain = functional.avg_pool2d(functional.conv2d(x, layer.weight, padding=1), 2)
    torch.testing.assert_close(out, plain)
    weights = torch.rand(out.shape, generator=generator, dtype=torch.float64)
    for mine, other in zip(
        *(torch.autograd.grad((o * weights).sum(), (x, layer.weight)) for o in (out, plain)), strict=True
    ):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("size", [28, 32, 22])
def test_the_small_resnet_is_the_textbooks_layer_by_layer(size: int) -> None:
    """In training mode, where batch norm sees every activation: logits, gradients and running statistics."""
    info = InputInfo(1, size, size, 10, (0.3,), (0.4,))
    model = made("small_resnet", info).double().train()
    textbook = as_plain(model, info).double().train()
    x = torch.rand(5, 1, size, size, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    found = []
    for network in (model, textbook):
        logits = network(x)
        functional.cross_entropy(logits, torch.arange(5)).backward()
        found.append([logits, *(w.grad for w in network.parameters()), *network.buffers()])
    for mine, other in zip(*found, strict=True):
        torch.testing.assert_close(mine, other)


def test_a_training_of_the_small_resnet_is_the_textbooks() -> None:
    """Eight steps in float64, where rounding has no time to grow: the same losses and weights from the same start."""
    model = made("small_resnet", GREY_28).double().train()
    textbook = as_plain(model, GREY_28).double().train()
    generator = torch.Generator().manual_seed(4)
    x = torch.rand(8, 12, 1, 28, 28, generator=generator, dtype=torch.float64)
    y = torch.randint(0, 10, (8, 12), generator=generator)
    ours = SGD(model.parameters(), momentum=0.9, weight_decay=5e-4)
    torchs = torch.optim.SGD(textbook.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, nesterov=True)
    for images, labels in zip(x, y, strict=True):
        losses = [functional.cross_entropy(network(images), labels) for network in (model, textbook)]
        torch.testing.assert_close(*losses, rtol=1e-9, atol=0)
        ours.zero_grad()
        torchs.zero_grad()
        torch.stack(losses).sum().backward()
        ours.step(0.05)
        torchs.step()
    for mine, other in zip(model.parameters(), textbook.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-9)


def test_every_pixel_reaches_the_small_resnet_alike() -> None:
    """No grid of holes: over the even and odd places the mean input gradient is of one size."""
    model, x = made("small_resnet"), images(GREY_28, 32).requires_grad_()
    (gradient,) = torch.autograd.grad(model(x)[:, 0].sum(), x)
    inner = gradient.abs().mean((0, 1))[4:24, 4:24]
    phases = torch.stack([inner[i::2, j::2].mean() for i in (0, 1) for j in (0, 1)])
    assert phases.min() > 0.5 * phases.max()


def test_vgg16_takes_images_from_16_pixels_up() -> None:
    for size in (16, 48):
        info = InputInfo(1, size, size, 4, (0.5,), (0.5,))
        with torch.device("meta"):
            model = VGG16().network(info).eval()
            assert model.body(images(info, 1).to("meta")).shape == (1, 512)


def test_width_scales_the_small_networks() -> None:
    assert SmallResNet(width=4).build(GREY_28).head.in_features == 16
    with pytest.raises(ValueError, match="width"):
        registry.parse("architecture", {"method": "small_vgg", "width": 0})
