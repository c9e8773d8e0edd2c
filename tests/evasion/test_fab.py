"""FAB's distances against closed forms, and the queue of its pairs."""

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor, nn
from toy_networks import Counting, Linear, trained

from benchmark.evasion.fab import FAB
from benchmark.evasion.norms import NORMS, NormName

NORM = pytest.mark.parametrize("norm", ["linf", "l2"])


class Classes(nn.Module):
    """Linear, of several classes, on images (1, 4, 4) that lie in corners of the box."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.head = nn.Linear(16, classes)
        with torch.no_grad():
            self.head.weight.copy_(torch.randn(classes, 16, generator=torch.Generator().manual_seed(1)))
            self.head.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(x.flatten(1))
        return logits


def corner_images(count: int = 12) -> Tensor:
    x = torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(2))
    return torch.where((x - 0.5).abs() > 0.2, x.round(), x)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def nearest(attack: FAB, model: nn.Module, x: Tensor, y: Tensor, batch_size: int = 64) -> tuple[Tensor, Tensor]:
    return attack.smallest_perturbations(model, x, y, seeded(), batch_size)


@NORM
def test_distances_are_the_margin_over_the_dual_norm_where_the_box_is_not_active(norm: NormName) -> None:
    model, margins = Linear(), torch.tensor([0.4, 1.0, 2.0, 3.0, -1.0, 0.1])
    y = torch.tensor([0, 1, 0, 1, 0, 1])
    x = model.images_at(margins, y)
    found, distances = nearest(FAB(epsilon=0.1, norm=norm), model, x, y)
    torch.testing.assert_close(distances, margins.clamp_min(0) / model.dual_norm(norm), rtol=1e-3, atol=0)
    torch.testing.assert_close(NORMS[norm].size(found - x), distances)
    assert (model(found).argmax(1) != y).all() and torch.equal(found[4], x[4])


def least_linf(model: Classes, image: Tensor, label: int, target: int) -> float:
    """The linear program of one target class: least r with the target's logit at least the label's."""
    w = (model.head.weight[target] - model.head.weight[label]).detach().double().numpy()
    flat, eye, ones = image.flatten().double().numpy(), np.eye(16), np.ones((16, 1))
    found = linprog(
        np.r_[np.zeros(16), 1],
        A_ub=np.block([[eye, -ones], [-eye, -ones], [-w[None], np.zeros((1, 1))]]),
        b_ub=np.r_[np.zeros(32), w @ flat],
        bounds=[*((-v, 1 - v) for v in flat), (0, None)],
    )
    return float(found.fun) if found.success else float("inf")


def least_l2(model: Classes, image: Tensor, label: int, target: int) -> float:
    """The point of the box nearest to the image moves by the multiplier times w, cut to the box: bisect for it."""
    w = (model.head.weight[target] - model.head.weight[label]).detach().double()
    flat = image.flatten().double()
    low, high = 0.0, 1e4
    if (w * (flat + high * w).clamp(0, 1)).sum() < 0:
        return float("inf")
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if (w * (flat + middle * w).clamp(0, 1)).sum() >= 0 else (middle, high)
    return float(((flat + high * w).clamp(0, 1) - flat).norm())


@pytest.mark.parametrize(("norm", "least"), [("linf", least_linf), ("l2", least_l2)])
def test_distances_are_the_least_over_all_classes_where_the_box_is_active(norm: NormName, least) -> None:  # type: ignore[no-untyped-def]
    model, x = Classes(), corner_images()
    y = model(x).argmax(1)
    _, distances = nearest(FAB(epsilon=0.1, norm=norm, alpha_max=0.1), model, x, y)
    truth = [
        min(least(model, image, label, t) for t in range(5) if t != label)
        for image, label in zip(x, y.tolist(), strict=True)
    ]
    torch.testing.assert_close(distances, torch.tensor(truth), rtol=2e-3, atol=1e-6)


@NORM
def test_an_image_that_nothing_fools_is_infinitely_far_and_stands(norm: NormName) -> None:
    model = Classes(3)
    with torch.no_grad():
        model.head.bias[1] = 1000.0
    x, y = corner_images(), torch.ones(12, dtype=torch.int64)
    found, distances = nearest(FAB(epsilon=0.1, norm=norm, steps=3), model, x, y)
    assert distances.isinf().all() and torch.equal(found, x)
    assert torch.equal(FAB(norm=norm, epsilon=0.1, steps=3).perturb(model, x, y, seeded()).images, x)


@NORM
def test_the_batch_size_changes_nothing(norm: NormName) -> None:
    """Pairs queue up: neither who shares a batch nor when a pair starts may matter. So too which images are given."""
    model, x = Classes(), corner_images()
    y = model(x).argmax(1)
    attack = FAB(epsilon=0.1, norm=norm, steps=4)
    _, distances = nearest(attack, model, x, y)
    for size in (5, 17):
        torch.testing.assert_close(nearest(attack, model, x, y, size)[1], distances)
    torch.testing.assert_close(nearest(attack, model, x[3:], y[3:])[1], distances[3:])


def test_batches_stay_full_while_pairs_queue() -> None:
    """12 images, 4 targets, batches of 16: three batches of pairs, each all steps long."""
    model, x = Classes(), corner_images()
    y = model(x).argmax(1)
    counting = Counting(model)
    nearest(FAB(epsilon=0.1, norm="linf", steps=7), counting, x, y, 16)
    assert [size for size in counting.sizes if size != 12] == [16] * (3 * 7 * 2)


def test_a_fallen_image_pays_no_further_target() -> None:
    model, x = Classes(), corner_images()
    y = model(x).argmax(1)
    counting = Counting(model)
    FAB(norm="linf", epsilon=1.0).perturb(counting, x, y, seeded())
    assert sum(counting.sizes) < 12 * 10, "of 12 * 4 * 200"


def test_more_targets_never_give_larger_distances() -> None:
    network, x, y = trained()
    few, all_ = (nearest(FAB(epsilon=0.1, norm="l2", targets=n, steps=10), network, x[:16], y[:16])[1] for n in (1, 9))
    assert (all_ <= few + 1e-5).all() and (all_ < few - 1e-3).any()


def test_restarts_never_give_larger_distances() -> None:
    network, x, y = trained()
    attack = FAB(epsilon=0.1, norm="linf", targets=1, steps=5)
    one, three = (nearest(attack.model_copy(update={"restarts": n}), network, x[:16], y[:16])[1] for n in (1, 3))
    assert (three <= one + 1e-6).all() and (three < one - 1e-5).any()


@NORM
def test_the_final_search_ends_past_the_boundary_but_hardly(norm: NormName) -> None:
    network, x, y = trained()
    found, distances = nearest(FAB(epsilon=0.1, norm=norm, steps=20), network, x, y)
    moved = distances > 0
    assert moved.sum() >= 36 and distances.isfinite().all()
    with torch.no_grad():
        assert (network(found).argmax(1) != y).all()
        nearer = network(torch.lerp(x, found, 0.97)).argmax(1) == y
    assert nearer[moved].all()
