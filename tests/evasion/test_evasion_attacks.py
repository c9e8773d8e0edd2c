"""Every evasion attack joins CASES and so each test here."""

import functools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from toy_networks import SHAPE, Counting, Linear, trained

from benchmark import registry
from benchmark.evasion.attack import Evasion, Perturbed
from benchmark.evasion.norms import NORMS
from benchmark.evasion.pooled import PooledEvasion
from benchmark.planning.labels import label

SETTINGS = (
    {"method": "fgsm", "norm": "linf", "epsilon": 0.03},
    {"method": "fgsm", "norm": "l2", "epsilon": 0.5},
    {"method": "pgd", "norm": "linf", "epsilon": 0.03},
    {"method": "pgd", "norm": "l2", "epsilon": 0.5, "steps": 50, "step_size": 0.1},
    {"method": "pgd", "norm": "linf", "epsilon": 0.03, "steps": 5, "step_size": "4/255", "restarts": 2},
    {"method": "pgd", "norm": "linf", "epsilon": 0.03, "random_start": False},
    {"method": "pgd", "norm": "l2", "epsilon": 0.5, "random_start": False},
    {"method": "apgd", "norm": "linf", "epsilon": 0.03},
    {"method": "apgd", "norm": "l2", "epsilon": 0.5},
    {"method": "apgd", "norm": "linf", "epsilon": 0.03, "loss": "dlr", "restarts": 2, "steps": 40},
    {"method": "apgd", "norm": "l2", "epsilon": 0.5, "loss": "targeted_dlr", "targets": 2},
    {"method": "apgd", "norm": "linf", "epsilon": 0.03, "loss": "targeted_dlr", "targets_by": "almost_linear"},
    {"method": "fab", "norm": "linf", "epsilon": 0.03, "steps": 20},
    {"method": "fab", "norm": "l2", "epsilon": 0.5, "steps": 10, "restarts": 2},
    {"method": "square", "norm": "linf", "epsilon": 0.03, "queries": 200, "rescaled": True},
    {"method": "square", "norm": "l2", "epsilon": 0.5, "queries": 200, "rescaled": True},
    {"method": "pmd", "norm": "linf", "epsilon": 0.03, "steps": 20},
    {"method": "pmd", "norm": "l2", "epsilon": 0.5, "steps": 50},
    {"method": "autoattack_quick", "norm": "linf", "epsilon": 0.03},
    {"method": "autoattack_quick", "norm": "l2", "epsilon": 0.5},
)


def name(settings: dict[str, object]) -> str:
    return "-".join(str(value) for value in settings.values())


def attack(settings: dict[str, object], **changed: object) -> Evasion:
    method = registry.parse("evasion", {**settings, **changed})
    assert isinstance(method, Evasion)
    return method


SLOW = ({"method": "autoattack", "norm": "linf", "epsilon": 0.05},)
"""5,000 queries for what stands."""
CASES = pytest.mark.parametrize(
    "case",
    [pytest.param(attack(s), id=name(s), marks=[pytest.mark.slow] * (s in SLOW)) for s in (*SETTINGS, *SLOW)],
)


def run(case: Evasion, model: torch.nn.Module, x: Tensor, y: Tensor, seed: int = 0) -> Perturbed:
    return case.perturb(model, x, y, torch.Generator().manual_seed(seed))


@functools.cache
def on_trained(case: Evasion) -> Perturbed:
    return run(case, *trained())


def right(model: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    with torch.no_grad():
        return model(x).argmax(1) == y


def test_every_attack_is_in_the_table() -> None:
    ours = {name for name, path in registry.EVASION.items() if path.startswith("benchmark.")}
    assert {s["method"] for s in (*SETTINGS, *SLOW)} == ours - {"given"}, "that one makes no images"


@CASES
def test_it_stays_inside_the_ball_and_the_box(case: Evasion) -> None:
    _, x, _ = trained()
    found = on_trained(case).images
    assert found.shape == x.shape and found.dtype == x.dtype
    assert 0 <= found.min() and found.max() <= 1
    sizes = NORMS[case.norm].size(found - x)
    assert case.epsilon / 2 < sizes.max() <= case.epsilon + 1e-6


@CASES
def test_the_same_seed_gives_the_same_result_and_no_global_state_moves(case: Evasion) -> None:
    network, x, y = trained()
    state, given = torch.get_rng_state(), x.clone()
    weights = {k: v.clone() for k, v in network.state_dict().items()}
    first, again = on_trained(case), run(case, *trained())
    assert torch.equal(first.images, again.images) and torch.equal(first.loss, again.loss)
    assert torch.equal(torch.get_rng_state(), state) and torch.equal(x, given)
    assert all(torch.equal(v, weights[k]) for k, v in network.state_dict().items())
    assert all(p.requires_grad for p in network.parameters())
    if getattr(case, "random_start", False):
        assert not torch.equal(first.images, run(case, *trained(), seed=1).images)


@CASES
def test_it_beats_no_attack(case: Evasion) -> None:
    """And noise of the same size, which leaves nearly all images right."""
    network, x, y = trained()
    clean = right(network, x, y)
    assert clean.sum() >= 36
    noise = NORMS[case.norm].random_start(x, case.epsilon, torch.Generator().manual_seed(2))
    robust = right(network, on_trained(case).images, y).sum()
    assert robust <= 0.5 * clean.sum() and robust < right(network, (x + noise).clamp(0, 1), y).sum()
    assert on_trained(case).loss.isfinite().all()


@CASES
def test_misclassified_images_stay_as_they_were_and_stay_fooled(case: Evasion) -> None:
    network, x, y = trained()
    wrong = ~right(network, x, y)
    assert wrong.sum() >= 6
    found = on_trained(case).images
    assert torch.equal(found[wrong], x[wrong])
    assert not right(network, found, y)[wrong].any()


@CASES
def test_a_batch_of_fooled_images_comes_back(case: Evasion) -> None:
    network, x, y = trained()
    wrong = ~right(network, x, y)
    done = run(case, network, x[wrong], y[wrong])
    assert torch.equal(done.images, x[wrong])


@CASES
@pytest.mark.parametrize("margin", [1.0, 30.0], ids=["unsure", "confident"])
def test_it_is_the_closed_form_on_a_linear_model(case: Evasion, margin: float) -> None:
    """An image falls if and only if its margin is under epsilon times the dual norm of the weights.

    Those that stand end at the worst point: epsilon times the steepest direction. The confident model's
    gradients go down to e^-78: an l2 norm that underflows would leave its images standing.
    """
    if case.KIND == "black_box":
        pytest.skip("it needs many queries to get there: see its own tests")
    model = Linear()
    reach = case.epsilon * model.dual_norm(case.norm)
    model.gain = margin / reach
    shares = torch.tensor([0.2, 0.9, 0.98, 1.02, 1.1, 1.3, -0.1])
    shares = torch.cat([shares, shares])
    y = torch.arange(14) // 7
    x = model.images_at(shares * reach, y)
    assert 0.1 < x.min() and x.max() < 0.9, "the box must not be active"
    found = run(case, model, x, y).images
    stands = right(model, found, y)
    assert torch.equal(stands, shares > 1)
    worst = -case.epsilon * (2 * y - 1).view(-1, 1, 1, 1) * model.steepest(case.norm)
    gap = NORMS[case.norm].size(found - x - worst)[stands]
    assert gap.max() <= (0.02 * case.epsilon if case.norm == "l2" else 1e-6)


@CASES
def test_the_loss_on_the_way_is_the_mean_over_the_images(case: Evasion) -> None:
    """First the clean loss where the start is the image; last the worst loss; it never falls on a linear model."""
    model = Linear(gain=0.1)
    reach = case.epsilon * model.dual_norm(case.norm)
    y = torch.tensor([0, 1, 1])
    x = model.images_at(reach * torch.tensor([1.5, 2.0, 3.0]), y)
    curve = run(case, model, x, y).loss
    clean = torch.nn.functional.softplus(-0.2 * reach * torch.tensor([1.5, 2.0, 3.0])).mean()
    worst = torch.nn.functional.softplus(-0.2 * reach * torch.tensor([0.5, 1.0, 2.0])).mean()
    if isinstance(case, PooledEvasion):
        assert curve.shape == (0,), "they take their largest steps first: what comes later says little"
        return
    assert (curve.diff() >= -1e-6).all()
    if not getattr(case, "random_start", False):
        assert curve[0].item() == pytest.approx(clean.item(), rel=1e-4)
    if registry.dump("evasion", case)["method"] == "pgd":
        assert len(curve) == case.passes // getattr(case, "restarts", 1) + 1
        assert curve[-1].item() == pytest.approx(worst.item(), rel=1e-2)


@CASES
def test_it_costs_no_more_passes_than_it_says(case: Evasion) -> None:
    network, x, y = trained()
    counting = Counting(network)
    run(case, counting, x, y)
    runs = getattr(case, "restarts", 1) * (case.targets if getattr(case, "loss", "") == "targeted_dlr" else 1)  # type: ignore[attr-defined]
    assert len(counting.sizes) <= case.passes + 1 + runs
    assert sum(counting.sizes) <= len(x) * (case.passes + 1 + runs)


@CASES
def test_the_label_names_the_ball(case: Evasion) -> None:
    method = registry.dump("evasion", case)["method"]
    variants = [getattr(case, name) for name in case.TOLD_IF_SET]
    told = [str(value) for value in variants if value not in ("cross_entropy", False)]
    assert label("evasion", case) == "-".join([method, case.norm, f"{case.epsilon:.4g}", *told])


@pytest.mark.parametrize("settings", SETTINGS, ids=name)
@pytest.mark.parametrize(
    ("key", "value"), [("epsilon", 0), ("epsilon", "far"), ("norm", "l7"), ("steps", 0), ("epsilom", 1)]
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object], key: str, value: object) -> None:
    with pytest.raises(ValueError, match=key):
        attack(settings, **{key: value})


def test_a_colour_batch_keeps_its_shape_and_layout_does_not_matter() -> None:
    x = torch.rand(5, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(108, 3))
    with torch.no_grad():
        model[1].weight.copy_(torch.randn(3, 108, generator=torch.Generator().manual_seed(1)))
    y = model(x).argmax(1)
    for settings in SETTINGS:
        short = {"steps": 4} if "steps" in type(attack(settings)).model_fields else {}
        plain = run(attack(settings, **short), model, x, y).images
        last = run(attack(settings, **short), model, x.to(memory_format=torch.channels_last), y).images
        assert plain.shape == x.shape
        torch.testing.assert_close(last, plain)


def test_the_toy_images_have_the_declared_shape() -> None:
    assert trained()[1].shape[1:] == SHAPE
