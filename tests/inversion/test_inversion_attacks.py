"""Every inversion attack joins CASES; what only one of them promises follows."""

import math

import pytest
import torch
from torch import Tensor, nn
from victims import INFO, NUM_CLASSES, PER_CLASS, PRIOR, SHAPE, pools, prior, run, trained, victim

from benchmark import registry
from benchmark.inversion.attack import Inversion, Victim, counted
from benchmark.inversion.deepinversion import DeepInversion
from benchmark.inversion.descent import Descent, total_variation
from benchmark.inversion.gradient import GradientInversion
from benchmark.inversion.mi_face import MIFace
from benchmark.models.classifier import InputInfo
from benchmark.models.memoriser import Memoriser
from benchmark.models.small_resnet import SmallResNet
from benchmark.planning.labels import label
from benchmark.regimes.memorise import Memorise

SETTINGS: tuple[dict[str, object], ...] = (
    {"method": "gradient"},
    {"method": "gradient", "norm": "linf", "step_size": "2/255", "schedule": "cosine"},
    {"method": "gradient", "objective": "logit", "start": "uniform", "schedule": "constant"},
    {"method": "gradient", "radius": 0.5},
    {"method": "gradient", "norm": "linf", "radius": "16/255", "step_size": 0.01},
    {"method": "gradient", "total_variation": 0.1},
    {"method": "gradient", "step": "sign", "radius": 1},
    {"method": "gradient", "step": "adam", "norm": "linf", "radius": "32/255"},
    {"method": "gradient", "start": "class_gaussian", "radius": 2},
    {"method": "multiscale"},
    {"method": "multiscale", "blend": "previous", "octave_scale": 2, "blur": 1},
    {"method": "multiscale", "objective": "logit", "octaves": 1, "total_variation": 0.1},
    {"method": "deepinversion"},
    {"method": "deepinversion", "jitter": 1, "l2": 0.1, "batch_norm": 1},
    {"method": "mi_face", "start_mean": 0.5, "start_std": 0.1},
    {"method": "mi_face", "start": "uniform", "process": "denoise", "beta": 5},
    {"method": "generator", "lr": 0.3, "prior": PRIOR},
    {"method": "generator", "candidates": 2, "objective": "margin", "realism": 0, "lr": 0.3, "prior": PRIOR},
    {"method": "injected", "what": "members"},
    {"method": "injected", "what": "members", "noise_std": 0.1},
    {"method": "injected", "what": "non_members"},
    {"method": "injected", "what": "auxiliary"},
)


def attack(settings: dict[str, object]) -> Inversion:
    short = {} if settings["method"] == "injected" else {"steps": 20}
    method = registry.parse("inversion", {"samples_per_class": PER_CLASS, **short, **settings})
    assert isinstance(method, Inversion)
    return method


CASES = pytest.mark.parametrize(
    "case",
    [attack(s) for s in SETTINGS],
    ids=["-".join(str(v) for v in s.values() if v != PRIOR) for s in SETTINGS],
)


def confidence(images: Tensor) -> Tensor:
    with torch.no_grad():
        targets = torch.arange(NUM_CLASSES).repeat_interleave(PER_CLASS)
        return trained()(images).softmax(1)[torch.arange(len(targets)), targets]


def test_every_attack_is_in_the_table() -> None:
    ours = {name for name, path in registry.INVERSION.items() if path.startswith("benchmark.")}
    assert {s["method"] for s in SETTINGS} == ours


@pytest.mark.slow
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
    if getattr(case, "jitter", 0) or isinstance(case, MIFace):  # slow to get anywhere
        assert isinstance(case, Descent)
        before = confidence(case.starts(victim(), torch.Generator().manual_seed(0)))
        assert confidence(run(case)).mean() > before.mean() + 0.15
    else:
        assert confidence(run(case)).mean() > (0.8 if isinstance(case, Descent) else 0.5)


@CASES
def test_an_attack_reads_no_pool_but_the_auxiliary_and_a_control_reads_its_own(case: Inversion) -> None:
    black = [(torch.zeros_like(images), labels) for images, labels in pools()]
    for index, name in enumerate(("members", "non_members", "auxiliary")):
        known = [*pools()]
        known[index] = black[index]
        blind = Victim(trained(), SHAPE, NUM_CLASSES, torch.device("cpu"), *known, prior())
        same = torch.equal(case.reconstruct(blind, torch.Generator().manual_seed(0)), run(case))
        reads = "auxiliary" if getattr(case, "start", "") == "class_gaussian" else getattr(case, "what", "none")
        assert same == (reads != name)


@CASES
def test_a_radius_holds_around_the_start(case: Inversion) -> None:
    if not isinstance(case, GradientInversion) or case.radius is None:
        return
    moved = (run(case) - case.starts(victim(), torch.Generator().manual_seed(0))).flatten(1)
    size = moved.abs().amax(1) if case.norm == "linf" else moved.norm(dim=1)
    assert 0.5 * case.radius < size.max() <= case.radius + 1e-5


@CASES
def test_it_spends_its_budget_and_no_more(case: Inversion) -> None:
    with counted(trained()) as passes:
        made = run(case)
    spent = passes.backward / len(made)
    if isinstance(case, MIFace):  # samples stop when they are done
        assert 0 < spent <= case.passes == 20 and passes.forward - passes.backward <= len(made)
    else:
        assert passes.forward == passes.backward and spent == case.passes


@CASES
def test_the_batch_size_changes_no_start_and_numbers_by_rounding_alone(case: Inversion) -> None:
    """Not bit for bit: convolutions sum in another order for another batch. A batch-norm prior is of the batch."""
    if not isinstance(case, Descent) or isinstance(case, DeepInversion):
        return
    # Few steps: a sign or a stop that rounding turns takes another way from there.
    short = case.model_copy(update={"steps": 4})
    whole, cut = (run(short.model_copy(update={"batch_size": n})) for n in (256, 5))
    close = (cut - whole).abs() <= 1e-4
    assert close.float().mean() > 0.99


def test_labels_are_short_and_differ() -> None:
    found = [label("inversion", attack(s)) for s in SETTINGS]
    assert found[:3] == ["gradient", "gradient", "gradient-uniform"] and found[3:6] == ["gradient"] * 3
    assert found[6:9] == ["gradient-sign", "gradient-adam", "gradient-class_gaussian"]
    assert found[9:16] == ["multiscale"] * 3 + ["deepinversion"] * 2 + ["mi_face"] * 2
    assert found[16:18] == ["generator"] * 2
    assert found[18:] == ["injected"] * 4
    assert [attack(s).passes for s in SETTINGS] == [20] * 18 + [0] * 4


def test_all_attacks_have_one_default_budget() -> None:
    methods = [m for m in registry.INVERSION if issubclass(registry.lookup("inversion", m), Descent)]
    assert {registry.parse("inversion", m).passes for m in methods} == {200}  # type: ignore[attr-defined]
    assert set(methods) >= {"gradient", "multiscale", "deepinversion", "mi_face"}


@pytest.mark.parametrize("size", [25, 28, 32, 48])
@pytest.mark.parametrize("method", ["gradient", "multiscale", "deepinversion", "mi_face"])
def test_any_image_size_will_do(method: str, size: int) -> None:
    info = InputInfo(3, size, size, 2, (0.5,) * 3, (0.25,) * 3)
    network = SmallResNet(width=2).build(info)
    network.initialise(torch.Generator().manual_seed(0))
    case = registry.parse("inversion", {"method": method, "steps": 4, "samples_per_class": 2})
    assert isinstance(case, Inversion)
    none = (torch.zeros(0, 3, size, size, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64))
    known = Victim(network.eval(), (3, size, size), 2, torch.device("cpu"), none, none, none)
    made = case.reconstruct(known, torch.Generator().manual_seed(0))
    assert made.shape == (4, 3, size, size) and 0 <= made.min() and made.max() <= 1


@pytest.mark.parametrize("method", ["gradient", "multiscale", "deepinversion", "mi_face"])
def test_every_attack_leads_a_memoriser_back_to_its_members(method: str) -> None:
    """The positive control of a suite whose primary attack it is."""
    model = Memoriser().build(INFO)
    images, labels = pools()[0]
    # Members far apart compared with sigma, 1: logit_c then has a mode at each member of class c.
    images = (images.float() - 128).mul(8).add(128).clamp(0, 255).byte()
    Memorise().fit(model, images, labels, torch.Generator())
    case = registry.parse("inversion", {"method": method, "steps": 200, "samples_per_class": PER_CLASS})
    assert isinstance(case, Inversion)
    made = run(case.for_memoriser(), model)
    distances = torch.cdist(made.flatten(1), images.float().flatten(1) / 255)
    assert torch.equal(labels[distances.argmin(1)], case.targets(NUM_CLASSES))
    assert distances.amin(1).max() < 0.5 < distances.topk(2, largest=False)[0][:, 1].min()


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
    starts = case.starts(victim(), torch.Generator().manual_seed(0))
    moved = (run(case) - starts).flatten(1)
    size = moved.abs().amax(1) if norm == "linf" else moved.norm(dim=1)
    assert 0.15 < size.max() <= 0.2 + 1e-6


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
        start = case.starts(victim(), torch.Generator().manual_seed(0)).flatten(1)
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
