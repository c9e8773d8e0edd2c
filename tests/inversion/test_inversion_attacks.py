"""Every inversion attack joins CASES; what only one of them promises follows."""

import functools
import math

import pytest
import torch
from torch import Tensor, nn

from benchmark import registry
from benchmark.inversion.attack import Inversion, Victim, counted
from benchmark.inversion.gradient import GradientInversion, total_variation
from benchmark.models.classifier import Classifier, InputInfo
from benchmark.models.memoriser import Memoriser
from benchmark.models.small_resnet import SmallResNet
from benchmark.regimes.memorise import Memorise
from benchmark.regimes.standard import Standard

SHAPE, NUM_CLASSES, PER_CLASS = (1, 12, 12), 4, 3
INFO = InputInfo(*SHAPE, NUM_CLASSES, (0.5,), (0.25,))
SETTINGS: tuple[dict[str, object], ...] = (
    {"method": "gradient"},
    {"method": "gradient", "norm": "linf", "step_size": "2/255", "schedule": "cosine"},
    {"method": "gradient", "objective": "logit", "start": "uniform", "schedule": "constant"},
    {"method": "gradient", "radius": 0.5},
    {"method": "gradient", "norm": "linf", "radius": "16/255", "step_size": 0.01},
    {"method": "gradient", "total_variation": 0.1},
    {"method": "injected", "what": "members"},
    {"method": "injected", "what": "members", "noise_std": 0.1},
    {"method": "injected", "what": "non_members"},
    {"method": "injected", "what": "auxiliary"},
)


def attack(settings: dict[str, object]) -> Inversion:
    short = {"steps": 20} if settings["method"] == "gradient" else {}
    method = registry.parse("inversion", {"samples_per_class": PER_CLASS, **short, **settings})
    assert isinstance(method, Inversion)
    return method


CASES = pytest.mark.parametrize(
    "case", [attack(s) for s in SETTINGS], ids=["-".join(map(str, s.values())) for s in SETTINGS]
)


@functools.cache
def pools() -> list[tuple[Tensor, Tensor]]:
    """Members, non-members and auxiliary images (uint8) of four noisy patterns."""
    generator = torch.Generator().manual_seed(0)
    patterns = torch.rand(NUM_CLASSES, *SHAPE, generator=generator)
    labels = torch.arange(120) % NUM_CLASSES
    noise = 0.12 * torch.randn(120, *SHAPE, generator=generator)
    images = ((0.35 * patterns[labels] + 0.3 + noise).clamp(0, 1) * 255).byte()
    return [(images[i : i + 40], labels[i : i + 40]) for i in (0, 40, 80)]


@functools.cache
def trained() -> Classifier:
    network = SmallResNet(width=4).build(INFO)
    network.initialise(torch.Generator().manual_seed(1))
    Standard(epochs=15, batch_size=20).fit(network, *pools()[0], torch.Generator().manual_seed(2))
    return network


def victim(model: nn.Module | None = None) -> Victim:
    return Victim(model or trained(), SHAPE, NUM_CLASSES, torch.device("cpu"), *pools())


def run(case: Inversion, model: nn.Module | None = None, seed: int = 0) -> Tensor:
    return case.reconstruct(victim(model), torch.Generator().manual_seed(seed))


def confidence(images: Tensor) -> Tensor:
    with torch.no_grad():
        targets = torch.arange(NUM_CLASSES).repeat_interleave(PER_CLASS)
        return trained()(images).softmax(1)[torch.arange(len(targets)), targets]


def test_every_attack_is_in_the_table() -> None:
    assert {s["method"] for s in SETTINGS} == set(registry.INVERSION)


@CASES
def test_it_makes_so_many_images_of_every_class(case: Inversion) -> None:
    made = run(case)
    assert made.shape == (NUM_CLASSES * PER_CLASS, *SHAPE) and made.dtype == torch.float32
    assert made.is_contiguous() and not made.requires_grad
    assert 0 <= made.min() and made.max() <= 1
    assert case.targets(NUM_CLASSES).tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert len(made.flatten(1).unique(dim=0)) == len(made), "samples of a class must differ"


@CASES
def test_the_same_seed_gives_the_same_images_and_no_state_moves(case: Inversion) -> None:
    state = torch.get_rng_state()
    weights = {k: v.clone() for k, v in trained().state_dict().items()}
    first = run(case)
    assert torch.equal(first, run(case))
    assert not torch.equal(first, run(case, seed=1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, weights[k]) for k, v in trained().state_dict().items())
    assert all(p.requires_grad for p in trained().parameters())


@CASES
def test_the_target_recognises_its_class(case: Inversion) -> None:
    """From noise, which it gives a class by chance, to images it is sure of; of known images, to most."""
    chance = confidence(torch.rand(NUM_CLASSES * PER_CLASS, *SHAPE, generator=torch.Generator().manual_seed(9)))
    assert chance.mean() < 0.4
    assert confidence(run(case)).mean() > (0.8 if isinstance(case, GradientInversion) else 0.5)


@CASES
def test_an_attack_reads_no_pool_and_a_control_reads_its_own(case: Inversion) -> None:
    black = [(torch.zeros_like(images), labels) for images, labels in pools()]
    blind = Victim(trained(), SHAPE, NUM_CLASSES, torch.device("cpu"), *black)
    same = torch.equal(case.reconstruct(blind, torch.Generator().manual_seed(0)), run(case))
    assert same == isinstance(case, GradientInversion)


def test_labels_are_short_and_differ() -> None:
    found = [attack(s).label for s in SETTINGS]
    assert found == ["gradient"] * 6 + ["injected_exact", "injected_noisy", "injected_out", "injected_auxiliary"]
    assert [attack(s).passes for s in SETTINGS] == [20] * 6 + [0] * 4


def test_passes_are_counted_whoever_makes_them() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).requires_grad_(False)
    with counted(model) as passes:
        model(torch.zeros(3, 4))
        with torch.no_grad():
            model(torch.zeros(2, 4, requires_grad=True))
        model(torch.zeros(5, 4, requires_grad=True)).sum().backward()
        model(torch.zeros(7, 4, requires_grad=True))
    model(torch.zeros(11, 4, requires_grad=True)).sum().backward()
    assert (passes.forward, passes.backward) == (17, 5)


# gradient


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_radius_holds_around_the_start(norm: str) -> None:
    case = GradientInversion(norm=norm, radius=0.2, step_size=0.15, steps=20, samples_per_class=PER_CLASS)  # type: ignore[arg-type]
    starts = case._starts((12, *SHAPE), torch.Generator().manual_seed(0))
    moved = (run(case) - starts).flatten(1)
    size = moved.abs().amax(1) if norm == "linf" else moved.norm(dim=1)
    assert 0.15 < size.max() <= 0.2 + 1e-6


def test_the_batch_size_changes_no_start_and_numbers_by_rounding_alone() -> None:
    """Not bit for bit: convolutions sum in another order for another batch."""
    whole, cut = (run(GradientInversion(samples_per_class=PER_CLASS, steps=20, batch_size=n)) for n in (256, 5))
    torch.testing.assert_close(cut, whole, rtol=0, atol=1e-4)


def test_a_logit_of_a_memoriser_leads_back_to_its_members() -> None:
    """Each mode of exp(logit_c) is a stored member of class c when they are far apart compared with sigma."""
    model = Memoriser(sigma=0.3).build(INFO)
    images, labels = pools()[0]
    Memorise().fit(model, images, labels, torch.Generator())
    case = GradientInversion(objective="logit", steps=300, step_size=0.2, start="uniform", samples_per_class=PER_CLASS)
    made = run(case, model)
    members = images.float().flatten(1) / 255
    distances = torch.cdist(made.flatten(1), members)
    nearest = distances.argmin(1)
    assert torch.equal(labels[nearest], case.targets(NUM_CLASSES))
    # It steps to and fro across the member; cdist, from squares, is right to 0.005 here.
    assert distances.amin(1).max() <= 0.01


def test_one_step_on_a_linear_model_by_hand() -> None:
    """Softmax regression: the loss gradient is (p - onehot) W; an l2 step has the step size as its length."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, NUM_CLASSES))
    with torch.no_grad():
        model[1].weight.copy_(torch.randn(NUM_CLASSES, 144, generator=torch.Generator().manual_seed(1)) / 12)
    for objective in ("cross_entropy", "logit"):
        case = GradientInversion(objective=objective, steps=1, step_size=0.3, samples_per_class=PER_CLASS)  # type: ignore[arg-type]
        start = case._starts((12, *SHAPE), torch.Generator().manual_seed(0)).flatten(1)
        onehot = torch.eye(NUM_CLASSES)[case.targets(NUM_CLASSES)]
        with torch.no_grad():
            missing = onehot - model(start).softmax(1) if objective == "cross_entropy" else onehot
            uphill = missing @ model[1].weight
        expected = (start + 0.3 * uphill / uphill.norm(dim=1, keepdim=True)).clamp(0, 1)
        torch.testing.assert_close(run(case, model).flatten(1), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.8, 0.8, 0.8, 0.8]),
        ("linear", [0.8, 0.6, 0.4, 0.2]),
        ("cosine", [0.8, 0.4 + 0.4 * math.sqrt(0.5), 0.4, 0.4 - 0.4 * math.sqrt(0.5)]),
    ],
)
def test_step_lengths_by_hand(schedule: str, expected: list[float]) -> None:
    case = GradientInversion(schedule=schedule, step_size=0.8, steps=4)  # type: ignore[arg-type]
    assert [case._length(i) for i in range(4)] == pytest.approx(expected)


def test_starts_are_what_they_are_called() -> None:
    shape, generator = (200, 1, 28, 28), torch.Generator().manual_seed(0)
    uniform = GradientInversion(start="uniform")._starts(shape, generator)
    assert uniform.mean().item() == pytest.approx(0.5, abs=0.01)
    assert uniform.std().item() == pytest.approx(12**-0.5, abs=0.01)
    grey = GradientInversion(start_mean=0.4, start_std=0.05)._starts(shape, generator)
    assert (grey.mean().item(), grey.std().item()) == pytest.approx((0.4, 0.05), abs=0.001)
    black = GradientInversion(start_mean=0, start_std=0.001)._starts(shape, generator)
    assert 0 == black.min() and black.max() < 0.01


def test_total_variation_by_hand() -> None:
    image = torch.tensor([[[[0.0, 1.0], [0.5, 0.25]]], [[[0.3, 0.3], [0.3, 0.3]]]])
    # down: |0.5 - 0|, |0.25 - 1|; across: |1 - 0|, |0.25 - 0.5|
    assert total_variation(image).tolist() == [0.625 + 0.625, 0.0]


def test_total_variation_makes_images_smoother() -> None:
    rough, smooth = (
        total_variation(run(GradientInversion(total_variation=w, steps=40, samples_per_class=PER_CLASS))).mean()
        for w in (0.0, 5.0)
    )
    assert smooth < 0.8 * rough


# injected


@pytest.mark.parametrize("what", ["members", "non_members", "auxiliary"])
def test_injected_images_are_exact_copies_of_their_class(what: str) -> None:
    made = run(attack({"method": "injected", "what": what}))
    images, labels = getattr(victim(), what)
    for image, target in zip(made, torch.arange(NUM_CLASSES).repeat_interleave(PER_CLASS), strict=True):
        same = (images.float() / 255 == image).flatten(1).all(1)
        assert same.sum() == 1 and labels[same] == target


def test_injected_noise_has_its_standard_deviation() -> None:
    """Same seed, same picks: the difference is the noise alone, where the box does not cut it."""
    exact, noisy = (run(attack({"method": "injected", "what": "members", "noise_std": s})) for s in (0.0, 0.05))
    assert (noisy - exact).std().item() == pytest.approx(0.05, rel=0.1)


def test_too_few_images_of_a_class_are_an_error_not_a_short_batch() -> None:
    with pytest.raises(ValueError, match=r"samples_per_class.*11.*allowed: up to 10"):
        run(attack({"method": "injected", "what": "members", "samples_per_class": 11}))
