"""`benchmark.attack`: closed forms, the numbers of a trial, and what it leaves alone."""

import math
import warnings
from collections.abc import Callable

import pytest
import torch
from finished import Finished
from given_networks import NUM_CLASSES, Binary, Normalised, convolutional, images, looks
from scipy.stats import beta
from torch import Tensor, nn

import benchmark
from benchmark import registry
from benchmark.evasion.attack import Evasion, Perturbed
from benchmark.evasion.pgd import PGD
from benchmark.spec import SpecError
from benchmark.stages.shared.inputs import sample
from benchmark.trials import trial

LABELS = torch.arange(24) % NUM_CLASSES


def labels_of(model: nn.Module, x: Tensor) -> Tensor:
    """What the model says, and for each fifth image something else."""
    with torch.no_grad():
        said = model(x)
    labels: Tensor = said.argmax(1)
    labels[::5] = (labels[::5] + 1) % said.shape[1]
    return labels


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_fgsm_on_a_linear_model_is_the_closed_form(norm: str) -> None:
    model, x, epsilon = Binary(), images(), 0.05 if norm == "linf" else 0.6
    labels = labels_of(model, x)
    found = benchmark.attack(model, x, labels, "fgsm", norm=norm, epsilon=epsilon, batch_size=7)
    weight = model.weight.detach()
    uphill = weight.sign() if norm == "linf" else weight / weight.norm()
    away = (1 - 2 * labels).view(-1, 1, 1, 1)  # class 1 is where the score is above 0
    right = (model.score(x) > 0) == (labels == 1)
    moved = (x + epsilon * away * uphill).clamp(0, 1)
    expected = torch.where(right.view(-1, 1, 1, 1), moved, x)
    torch.testing.assert_close(found.images, expected, rtol=0, atol=1e-6)
    stands = right & ((model.score(expected) > 0) == (labels == 1))
    assert torch.equal(found.clean_correct, right) and torch.equal(found.robust, stands)
    assert torch.equal(found.success, right & ~stands) and 0 < int(stands.sum()) < int(right.sum()) < 24


@pytest.mark.parametrize(("low", "high"), [(-1, 1), (0, 255), (0.5, 2)])
def test_a_range_is_what_the_network_takes_and_epsilon_stays_in_pixels(low: float, high: float) -> None:
    """The network on [low, high] that does what `Binary` does on [0, 1] is attacked alike."""
    plain, ranged = Binary(), Binary()
    with torch.no_grad():
        ranged.weight.div_(high - low)
        ranged.bias.sub_(low * ranged.weight.sum())
    labels = labels_of(plain, images())
    expected = benchmark.attack(plain, images(), labels, "fgsm", epsilon=0.05)
    found = benchmark.attack(ranged, images(), labels, "fgsm", epsilon=0.05, value_range=(low, high))
    torch.testing.assert_close(found.images, expected.images, rtol=0, atol=1e-6)
    assert torch.equal(found.robust, expected.robust)


def test_a_normalisation_is_as_if_the_caller_had_written_it() -> None:
    mean, std, model = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3), convolutional()
    by_hand = Normalised(model, mean, std).eval()
    labels = labels_of(by_hand, images())
    expected = benchmark.attack(by_hand, images(), labels, epsilon=0.03)
    found = benchmark.attack(model, images(), labels, epsilon=0.03, mean=mean, std=std)
    assert torch.equal(found.images, expected.images) and torch.equal(found.robust, expected.robust)
    alike = benchmark.attack(model, images(), labels, epsilon=0.03, mean=0.5, std=0.5)
    assert torch.equal(
        alike.images, benchmark.attack(model, images(), labels, epsilon=0.03, value_range=(-1, 1)).images
    )


@pytest.mark.parametrize("attack", ["pgd-l2-0.5", "fgsm-l2-0.5"])
@pytest.mark.parametrize("model", ["softmax", "hardened"])
def test_its_numbers_are_those_of_a_trial(finished: Finished, model: str, attack: str) -> None:
    """Bit for bit, with the weights, seed and settings of the trial, whoever normalises."""
    stage = finished.store.trial(finished.key("evade", model, 0, attack)).stage
    pools = trial.generator(finished.key("pools"), "evaded test images")
    ids = sample(finished.pools.test, stage["num_images"], pools)
    x, labels = finished.images.test_images[ids], finished.images.test_labels[ids]
    seed = trial.generator(finished.key("evade", model, 0, attack), "test").initial_seed()
    method = registry.parse("evasion", stage["attack"])
    assert isinstance(method, Evasion)
    network = finished.network(finished.key("train", model, 0))
    inside = nn.Sequential(network.body, network.head).eval()
    mean, std = (values.flatten().tolist() for values in (network.mean, network.std))
    for found in (
        benchmark.attack(network, x, labels, method, seed=seed, batch_size=stage["batch_size"]),
        benchmark.attack(inside, x.float() / 255, labels, method, seed=seed, mean=mean, std=std),
    ):
        stored = finished.tensors("evade", model, 0, attack)
        for name in ("robust", "distance", "loss"):
            assert torch.equal(getattr(found, name), stored[f"test_{name}"])
        assert torch.equal(found.clean_correct, stored["test_clean"])
        row = finished.rows("evade", model, 0, attack)["", "robust_accuracy"]
        assert (row["value"], row["low"], row["high"], row["n"]) == found.robust_accuracy_interval


def test_the_interval_is_clopper_and_pearsons() -> None:
    model = Binary()
    found = benchmark.attack(model, images(), labels_of(model, images()), "fgsm", epsilon=0.05)
    k = int(found.robust.sum())
    low, high = float(beta.ppf(0.025, k, 25 - k)), float(beta.ppf(0.975, k + 1, 24 - k))
    assert found.robust_accuracy_interval == pytest.approx((k / 24, low, high, 24))
    assert found.robust_accuracy == k / 24 and found.clean_accuracy == int(found.clean_correct.sum()) / 24
    assert f"fgsm, linf, epsilon 0.05, 24 images: robust accuracy {k / 24:.3f}" in repr(found)


def test_a_batch_norm_is_merged_in_a_copy_alone() -> None:
    model = convolutional()
    model(images(2)).sum().backward()  # gradients of the caller's, in the midst of something
    model[0].weight.requires_grad_(False)
    before, drawn = looks(model), torch.random.get_rng_state()
    benchmark.attack(model, images(), LABELS, epsilon=0.1, steps=3)
    assert looks(model) == before and torch.equal(torch.random.get_rng_state(), drawn)


def weight_normed() -> nn.Module:
    model = convolutional()
    with warnings.catch_warnings(action="ignore"):  # its old form, in which a hook computes the weight
        model[0] = nn.utils.weight_norm(model[0]).eval()
    model(images(2))
    return model


def traced() -> nn.Module:
    with warnings.catch_warnings(action="ignore"):  # TorchScript is old
        module: nn.Module = torch.jit.trace(convolutional(), images())
    return module


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize(
    "make",
    [
        weight_normed,
        lambda: nn.DataParallel(convolutional()).eval(),
        traced,
    ],
    ids=["weight norm", "data parallel", "traced"],
)
def test_other_forms_of_a_network_are_attacked_as_it_is(make: Callable[[], nn.Module]) -> None:
    labels = labels_of(convolutional(), images())
    found, expected = (benchmark.attack(m, images(), labels, epsilon=0.02) for m in (make(), convolutional()))
    torch.testing.assert_close(found.images, expected.images, rtol=0, atol=1e-4)
    assert torch.equal(found.robust, expected.robust) and 0 < int(found.robust.sum()) < 20


class Uncopyable(nn.Module):
    """Has a part that cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.network, self.handle = convolutional(), (i for i in range(3))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x)
        return logits


def test_a_model_that_cannot_be_copied_is_left_as_it_was_too() -> None:
    model = Uncopyable().eval()
    before, labels = looks(model), labels_of(model, images())
    found = benchmark.attack(model, images(), labels, epsilon=0.1, steps=3)
    assert looks(model) == before
    expected = benchmark.attack(convolutional(), images(), labels, epsilon=0.1, steps=3)
    torch.testing.assert_close(found.images, expected.images)


def test_images_and_labels_are_left_as_they_are() -> None:
    x, labels = images().requires_grad_(), LABELS.to(torch.int32)
    found = benchmark.attack(convolutional(), x, labels, epsilon=0.1, steps=2)
    assert torch.equal(x, images()) and x.grad is None and torch.equal(labels, LABELS)
    assert found.images.dtype == torch.float32 and found.images.is_contiguous() and not found.images.requires_grad


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_works_where_gradients_are_off(mode: type) -> None:
    expected = benchmark.attack(convolutional(), images(), LABELS, epsilon=0.1, steps=2)
    with mode():
        found = benchmark.attack(convolutional(), images(), LABELS.clone(), epsilon=0.1, steps=2)
    assert torch.equal(found.images, expected.images)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_model_of_other_numbers_is_given_its_own(dtype: torch.dtype) -> None:
    model = convolutional().to(dtype)
    found = benchmark.attack(model, images().double(), LABELS, epsilon=0.1, steps=2)
    assert found.images.dtype == torch.float32 and float(found.distance.max()) <= 0.1 + 1e-5


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
def test_the_models_device_computes_and_the_images_device_gets_the_result() -> None:
    labels = labels_of(convolutional(), images())
    found = benchmark.attack(convolutional().cuda(), images(), labels, "fgsm", epsilon=0.05, mean=0.1, std=0.9)
    there = benchmark.attack(convolutional(), images().cuda(), labels.cuda(), "fgsm", epsilon=0.05, mean=0.1, std=0.9)
    assert found.images.device.type == "cpu" and there.images.device.type == there.robust.device.type == "cuda"
    assert torch.equal(found.clean_correct, there.clean_correct.cpu())


def test_a_seed_decides_the_starts() -> None:
    first, again, other = (
        benchmark.attack(convolutional(), images(), LABELS, epsilon=0.1, steps=1, seed=seed).images
        for seed in (5, 5, 6)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


class Nothing(Evasion):
    """Leaves every image as it is."""

    def perturb(self, model: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> Perturbed:
        return Perturbed(images, torch.zeros(1))


class TooFar(Evasion):
    """Leaves its ball."""

    def perturb(self, model: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> Perturbed:
        return Perturbed((images + 2 * self.epsilon).clamp(0, 1), torch.zeros(1))


def test_a_method_of_the_callers_own_needs_no_name_but_may_have_one(registered: None) -> None:
    found = benchmark.attack(convolutional(), images(), LABELS, Nothing(epsilon=0.1))
    assert torch.equal(found.images, images()) and "Nothing" in repr(found)
    registry.register("evasion", "nothing", Nothing)
    assert "nothing" in repr(benchmark.attack(convolutional(), images(), LABELS, "nothing", epsilon=0.1))
    with pytest.raises(ValueError, match="TooFar' left its ball"):
        benchmark.attack(convolutional(), images(), LABELS, TooFar(epsilon=0.1))


def with_pixel(value: float) -> Tensor:
    x = images()
    x[3, 0, 0, 0] = value
    return x


WRONG = {
    "pixel above 1": ({"images": with_pixel(1.5)}, r"images: values from .* to 1.5 are not allowed.*mean and std"),
    "normalised": ({"images": with_pixel(-2)}, r"images: values from -2 to"),
    "NaN": ({"images": with_pixel(math.nan)}, "images: they hold NaN"),
    "int64": ({"images": images().long()}, "images: int64 is not allowed; allowed: float"),
    "array": ({"images": images().numpy()}, "images: a ndarray is not allowed; allowed: a torch.Tensor"),
    "one image": ({"images": images()[0]}, r"images: shape \(3, 8, 8\) is not allowed; allowed: \(N, C, H, W\)"),
    "no images": ({"images": images()[:0]}, r"images: shape \(0, 3, 8, 8\)"),
    "other size": ({"images": images()[:, :, 1:]}, r"model: it fails on images of \(3, 7, 8\): RuntimeError"),
    "float labels": ({"labels": LABELS.float()}, "labels: float32 is not allowed"),
    "one-hot": ({"labels": torch.eye(4).long()[LABELS]}, r"labels: shape \(24, 4\) is not allowed; allowed: \(24,\)"),
    "short labels": ({"labels": LABELS[1:]}, r"labels: shape \(23,\)"),
    "class 4": ({"labels": LABELS + 1}, "labels: class 4 is not allowed; the model has 4: 0 to 3"),
    "class -1": ({"labels": LABELS - 1}, "labels: class -1"),
    "list of labels": ({"labels": LABELS.tolist()}, "labels: a list is not allowed"),
    "name": ({"method": "pgb"}, r"unknown evasion 'pgb' \(did you mean 'pgd'\?\); allowed: .*fgsm, .*pgd"),
    "kind": ({"method": registry.parse("inversion", "gradient")}, "method: a GradientInversion is not allowed"),
    "setting": ({"stepz": 3}, r"unknown key 'stepz' \(did you mean 'steps'\?\)"),
    "no epsilon": ({"epsilon": None}, "epsilon: None is neither a number"),
    "epsilon of 8": ({"epsilon": 8}, "epsilon: 8 is not allowed; pixels are in .* such as 8/255"),
    "setting beside a Spec": ({"method": PGD(epsilon=0.1)}, "epsilon: not allowed beside a Spec"),
    "batch size": ({"batch_size": 0}, "batch_size: 0 is not allowed; allowed: a whole number, at least 1"),
    "seed": ({"seed": -1}, "seed: -1 is not allowed"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_refused_in_one_line(name: str) -> None:
    changed, message = WRONG[name]
    call = {"model": convolutional(), "images": images(), "labels": LABELS, "epsilon": 0.1, **changed}
    with pytest.raises(SpecError, match=message) as error:
        benchmark.attack(**call)
    assert "\n" not in str(error.value)
