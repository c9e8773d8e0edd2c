"""`benchmark.invert`: closed forms, the numbers of a trial, and what it leaves alone."""

import pytest
import torch
from finished import Finished
from given_networks import NUM_CLASSES, SHAPE, convolutional, images, looks
from torch import Tensor, nn

import benchmark
from benchmark import registry
from benchmark.inversion.attack import Inversion, Victim
from benchmark.inversion.generator import GeneratorInversion
from benchmark.inversion.gradient import GradientInversion
from benchmark.spec import SpecError
from benchmark.trials import trial

PIXELS = 3 * 8 * 8
PUBLIC = (images(40, seed=7).mul(255).byte(), torch.arange(40) % NUM_CLASSES)
SMALL = GeneratorInversion(
    steps=12, samples_per_class=2, prior={"method": "dcgan", "width": 4, "latent": 4, "steps": 3, "batch_size": 8}
)


def linear() -> nn.Sequential:
    network = nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, NUM_CLASSES)).eval()
    with torch.no_grad():
        network[1].weight.copy_(torch.randn(NUM_CLASSES, PIXELS, generator=torch.Generator().manual_seed(1)) / 14)
    return network


@pytest.mark.parametrize("targets", [None, [2, 0]])
def test_a_step_on_a_linear_model_is_the_closed_form(targets: list[int] | None) -> None:
    """From black, a step of l2 length s goes s along the gradient of log p_c, (onehot - p) W, and into the box."""
    model, classes = linear(), targets or list(range(NUM_CLASSES))
    made = benchmark.invert(
        model, NUM_CLASSES, SHAPE, "gradient", num_per_class=2, targets=targets, steps=1, step_size=0.7, start="zeros"
    )
    assert made.targets.tolist() == [c for c in classes for _ in range(2)]
    with torch.no_grad():
        missing = torch.eye(NUM_CLASSES)[made.targets] - model(torch.zeros(1, *SHAPE)).softmax(1)
        uphill = missing @ model[1].weight
        expected = (0.7 * uphill / uphill.norm(dim=1, keepdim=True)).clamp(0, 1).view(-1, *SHAPE)
        torch.testing.assert_close(made.images, expected, rtol=0, atol=1e-6)
        said = model(made.images).softmax(1)[torch.arange(len(classes) * 2), made.targets]
    torch.testing.assert_close(made.confidences, said)
    assert f"gradient, {2 * len(classes)} images of {len(classes)} classes: mean confidence" in repr(made)


@pytest.mark.parametrize("model", ["softmax", "hardened"])
def test_its_numbers_are_those_of_a_trial(finished: Finished, model: str) -> None:
    """Bit for bit, with the weights, seed and settings of the trial, whoever normalises."""
    stage = finished.store.trial(finished.key("invert", model, 0, "gradient")).stage
    seed = trial.generator(finished.key("invert", model, 0, "gradient"), "invert").initial_seed()
    method = registry.parse("inversion", stage["attack"])
    assert isinstance(method, Inversion)
    network = finished.network(finished.key("train", model, 0))
    inside = nn.Sequential(network.body, network.head).eval()
    mean, std = (values.flatten().tolist() for values in (network.mean, network.std))
    stored = finished.tensors("invert", model, 0, "gradient")
    for made in (
        benchmark.invert(network, 3, (1, 28, 28), method, seed=seed),
        benchmark.invert(inside, 3, (1, 28, 28), method, seed=seed, mean=mean, std=std),
    ):
        assert torch.equal(made.images, stored["images"]) and torch.equal(made.targets, stored["targets"])
        assert torch.equal(made.confidences, stored["confidence"])


@pytest.mark.parametrize("method", sorted(registry.INVERSION.keys() - {"injected", "generator"}))
def test_every_method_is_what_the_attack_gives_and_the_model_is_left_alone(method: str) -> None:
    model = convolutional()
    before, drawn = looks(model), torch.random.get_rng_state()
    made = benchmark.invert(model, NUM_CLASSES, SHAPE, method, num_per_class=2, steps=5, seed=3)
    assert looks(model) == before and torch.equal(torch.random.get_rng_state(), drawn)
    attack = registry.parse("inversion", {"method": method, "samples_per_class": 2, "steps": 5})
    assert isinstance(attack, Inversion)
    none = torch.zeros(0, *SHAPE, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64)
    own = convolutional().to(memory_format=torch.channels_last)
    victim = Victim(own, SHAPE, NUM_CLASSES, torch.device("cpu"), none, none, none)
    assert torch.equal(made.images, attack.reconstruct(victim, torch.Generator().manual_seed(3)))
    assert made.images.shape == (8, *SHAPE) and 0 <= made.images.min() and made.images.max() <= 1
    assert made.remark == "" and not made.learned


@pytest.mark.slow
def test_a_learned_prior_may_be_used_again() -> None:
    made = benchmark.invert(convolutional(), NUM_CLASSES, SHAPE, SMALL, auxiliary=PUBLIC)
    again = benchmark.invert(convolutional(), NUM_CLASSES, SHAPE, SMALL, learned=made.learned)
    assert made.learned and torch.equal(made.images, again.images)
    floats = PUBLIC[0].float() / 255, PUBLIC[1].int()
    assert torch.equal(
        made.images, benchmark.invert(convolutional(), NUM_CLASSES, SHAPE, SMALL, auxiliary=floats).images
    )
    with pytest.raises(SpecError, match="learned: it does not fit method, shape and classes"):
        benchmark.invert(convolutional(), NUM_CLASSES, SHAPE, SMALL, learned=made.learned, targets=[0, 1])


def test_only_auxiliary_images_of_the_targets_count() -> None:
    """A draw from a class's Gaussian, of which the variance is next to none, is the class's image."""
    model, image = linear(), images(1)
    grey = torch.full_like(image, 0.5).expand(3, -1, -1, -1)
    auxiliary = torch.cat([grey, image.expand(3, -1, -1, -1)]), torch.tensor([0, 0, 0, 2, 2, 2])
    made = benchmark.invert(
        model, NUM_CLASSES, SHAPE, start="class_gaussian", steps=1, step_size=1e-6, targets=[2], auxiliary=auxiliary
    )
    assert made.targets.tolist() == [2] * 8
    torch.testing.assert_close(made.images.mean(0, keepdim=True), image, rtol=0, atol=0.02)


def test_what_a_method_lacks_is_said() -> None:
    made = benchmark.invert(linear(), NUM_CLASSES, SHAPE, "deepinversion", num_per_class=1, steps=2)
    assert "no batch-norm layers" in made.remark and made.remark in repr(made)


class Grey(Inversion):
    """Grey images; no pass through the target."""

    def reconstruct(self, victim: Victim, generator: torch.Generator) -> Tensor:
        return torch.full((len(self.targets(victim.num_classes)), *victim.shape), 0.5)


def test_a_method_of_the_callers_own(registered: None) -> None:
    registry.register("inversion", "grey", Grey)
    made = benchmark.invert(convolutional(), NUM_CLASSES, SHAPE, "grey", num_per_class=1)
    assert torch.equal(made.images, torch.full((NUM_CLASSES, *SHAPE), 0.5)) and "grey" in repr(made)


WRONG = {
    "train mode": ({"model": convolutional().train()}, "model: it is in train mode"),
    "classes": ({"num_classes": 5}, r"model: it gives float32 of \(3, 4\).*\(3, 5\)"),
    "a class": ({"num_classes": 1}, "num_classes: 1 is not allowed; allowed: a whole number, at least 2"),
    "shape": ({"shape": (8, 8)}, r"shape: \(8, 8\) is not allowed; allowed: \(channels, height, width\)"),
    "no shape": ({"shape": 8}, "shape: 8 is not allowed"),
    "size": ({"shape": (3, 9, 8)}, r"model: it fails on images of \(3, 9, 8\)"),
    "name": ({"method": "gradients"}, r"unknown inversion 'gradients' \(did you mean 'gradient'\?\)"),
    "setting": ({"step": "sgn"}, "step: 'sgn' is not allowed"),
    "unknown": ({"stepz": 3}, r"unknown key 'stepz' \(did you mean"),
    "control": ({"method": "injected", "what": "members"}, "method: 'injected' is a control.*allowed: deepinversion"),
    "no images": ({"num_per_class": 0}, "num_per_class: 0 is not allowed"),
    "target": ({"targets": [4]}, "targets: 4 is not allowed; allowed: classes 0 to 3"),
    "twice": ({"targets": [1, 1]}, r"targets: \[1, 1\] is not allowed; allowed: at least one class, each once"),
    "no target": ({"targets": []}, r"targets: \[\]"),
    "no auxiliary": ({"method": "generator", "steps": 12}, "auxiliary: 'generator' learns .*another method: deepinv"),
    "no prior": ({"learned": {}}, "learned: not allowed, 'gradient' has no prior"),
    "auxiliary": ({"auxiliary": PUBLIC[0]}, r"auxiliary: not allowed as it is; allowed: \(images, labels\)"),
    "auxiliary of another size": ({"auxiliary": (PUBLIC[0][:, :1], PUBLIC[1])}, r"auxiliary: images of \(1, 8, 8\)"),
    "auxiliary of another class": ({"auxiliary": (PUBLIC[0], PUBLIC[1] + 1)}, "auxiliary: class 4 is not allowed"),
    "start": ({"start": "class_gaussian"}, "needs 2 auxiliary images of class 0, of which there are 0"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_refused_in_one_line(name: str) -> None:
    changed, message = WRONG[name]
    call = {"model": convolutional(), "num_classes": NUM_CLASSES, "shape": SHAPE, **changed}
    with pytest.raises(ValueError, match=message) as error:
        benchmark.invert(**call)
    assert "\n" not in str(error.value)


def test_a_spec_has_its_own_settings() -> None:
    with pytest.raises(SpecError, match="samples_per_class: not allowed beside a Spec"):
        benchmark.invert(convolutional(), NUM_CLASSES, SHAPE, GradientInversion(), num_per_class=2)
