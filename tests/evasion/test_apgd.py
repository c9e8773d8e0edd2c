"""What only APGD promises: checkpoints, one pass a step, targets, few classes; against a plain loop of the paper."""

import pytest
import torch
from test_evasion_attacks import right
from torch import Tensor, nn
from toy_networks import SHAPE, Counting, Linear, trained

from benchmark.evasion.apgd import APGD
from benchmark.evasion.ascent import checkpoints
from benchmark.evasion.norms import NORMS, NormName
from benchmark.spec import SpecError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def few_classes(count: int) -> tuple[nn.Module, Tensor, Tensor, float]:
    """A linear network, images near 1/2, their distances (linf) to the nearest other class, and the median of those."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, count))
    with torch.no_grad():
        weights = torch.randn(count, 144, generator=generator(1))
        model[1].weight.copy_(weights)
        model[1].bias.copy_(-0.5 * weights.sum(1))
        x = 0.5 + 0.1 * torch.randn(12, *SHAPE, generator=generator())
        logits = model(x)
    y = logits.argmax(1)
    steep = (weights[y][:, None] - weights).abs().sum(2)
    distances = ((logits.gather(1, y[:, None]) - logits) / steep).scatter(1, y[:, None], torch.inf).amin(1)
    return model, x, distances, float(distances.sort().values[5:7].mean())


def test_the_checkpoints_of_a_hundred_steps_are_the_papers() -> None:
    """p_0 = 0, p_1 = 0.22, p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06)."""
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert checkpoints(10) == [2, 3, 4, 5, 6, 7, 8, 9, 10] and checkpoints(1) == [1]


def plainly(
    model: nn.Module, clean: Tensor, y: Tensor, start: Tensor, epsilon: float, steps: int
) -> tuple[Tensor, int]:
    """Algorithm 1 of the paper in linf, for one image (1, C, H, W), on cross-entropy; (best point, number of halvings).

    Stops where the image falls.
    """

    def at(x: Tensor) -> tuple[float, Tensor, bool]:
        x = x.detach().requires_grad_(True)
        logits = model(x).double()
        loss = torch.nn.functional.cross_entropy(logits, y)
        return float(loss.detach()), torch.autograd.grad(loss, x)[0], bool(logits.argmax(1) != y)

    def inside(x: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(x, clean - epsilon), clean + epsilon).clamp(0, 1)

    length, halvings, points, losses = 2 * epsilon, 0, [start], []
    loss, slope, fell = at(start)
    losses.append(loss)
    best, best_loss, best_slope = start, loss, slope
    at_last, halved_last, previous = -1.0, True, 0
    for k in range(1, steps + 1):
        if fell:
            return points[-1], halvings
        x = points[-1]
        z = inside(x + length * slope.sign())
        new = z if k == 1 else inside(x + 0.75 * (z - x) + 0.25 * (x - points[-2]))
        points.append(new)
        loss, slope, fell = at(new)
        losses.append(loss)
        if loss > best_loss:
            best, best_loss, best_slope = new, loss, slope
        if k in checkpoints(steps):
            rises = sum(losses[i + 1] > losses[i] for i in range(previous, k))
            halve = rises <= 0.75 * (k - previous) or (not halved_last and best_loss == at_last)
            if halve:
                length, halvings, points[-1], slope = length / 2, halvings + 1, best, best_slope
            at_last, halved_last, previous = best_loss, halve, k
    return (points[-1] if fell else best), halvings


def test_it_is_the_papers_algorithm() -> None:
    network, x, y = trained()
    x, y = x[:24], y[:24]
    epsilon, steps = 0.008, 20
    found = APGD(epsilon=epsilon, steps=steps).perturb(network, x, y, generator()).images
    start = (x + NORMS["linf"].far_start(x, epsilon, generator())).clamp(0, 1)
    clean = right(network, x, y)
    halvings, gaps = 0, []
    for i in clean.nonzero().flatten().tolist():
        point, halved = plainly(network, x[i : i + 1], y[i : i + 1], start[i : i + 1], epsilon, steps)
        gaps.append(float((point - found[i]).abs().max()))
        halvings += halved
    stands = right(network, found, y).sum()
    assert 0 < stands < clean.sum() and halvings > 5, "the case must show both and halve"
    assert sum(gap > 1e-4 for gap in gaps) <= len(gaps) // 10, "rounding turns the sign of a gradient next to nothing"


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_starts_lie_on_the_surface(norm: NormName) -> None:
    x = torch.rand(50, 3, 5, 5, generator=generator(1))
    start = NORMS[norm].far_start(x, 0.2, generator())
    torch.testing.assert_close(NORMS[norm].size(start), torch.full((50,), 0.2))
    assert torch.equal(start, NORMS[norm].far_start(x, 0.2, generator()))
    assert start.mean().abs() < 0.02 and not torch.equal(start[0], start[1])


def test_one_pass_a_step_and_the_fallen_leave() -> None:
    model = Linear()
    y = torch.ones(32, dtype=torch.int64)
    margins = torch.cat([torch.full((8,), 0.5), torch.full((24,), 1.5)]) * 0.05 * model.dual_norm("linf")
    counting = Counting(model)
    APGD(epsilon=0.05, steps=4).perturb(counting, model.images_at(margins, y), y, generator())
    # clean; all 32 at the start; those whose margin is in reach fall with the first step and are gone with the second
    assert counting.sizes == [32, 32, 32, 24, 24, 24]


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_an_image_does_not_depend_on_its_neighbors(norm: NormName) -> None:
    network, x, y = trained()
    attack = APGD(norm=norm, epsilon=0.008 if norm == "linf" else 0.08, steps=6)
    together = attack.perturb(network, x, y, generator()).images
    mixed_x, mixed_y = x.clone(), y.clone()
    mixed_x[1::2] = x[1::2].flip(0)
    mixed_y[1::2] = (y[1::2] + 1) % 4
    mixed = attack.perturb(network, mixed_x, mixed_y, generator()).images
    torch.testing.assert_close(mixed[::2], together[::2], rtol=0, atol=1e-5)
    assert not torch.allclose(mixed[1::2], together[1::2], atol=1e-3)


@pytest.mark.parametrize("loss", ["cross_entropy", "dlr", "targeted_dlr"])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_of_few_classes_those_fall_that_can(loss: str, count: int) -> None:
    """Of a linear model the distance to the nearest other class is known; only a targeted loss always finds it."""
    model, x, distances, epsilon = few_classes(count)
    with torch.no_grad():
        y = model(x).argmax(1)
    found = APGD(epsilon=epsilon, steps=10, loss=loss).perturb(model, x, y, generator()).images  # type: ignore[arg-type]
    stands = right(model, found, y)
    assert bool(stands[distances > epsilon].all()) and stands.sum() < 12
    if count == 2 or loss == "targeted_dlr":
        assert torch.equal(stands, distances > epsilon)


def test_several_targets_go_in_one_batch_where_few_images_stand() -> None:
    """With the same outcome as one target after the other."""
    network, x, y = trained()
    attack = APGD(epsilon=0.008, loss="targeted_dlr", steps=5)
    few, many = Counting(network), Counting(network)
    alone = attack.perturb_pool(few, x, y, generator(), batch_size=int(right(network, x, y).sum()))
    together = attack.perturb_pool(many, x, y, generator(), batch_size=1000)
    assert len(many.sizes) < len(few.sizes) and max(many.sizes) > 2 * len(x)
    assert (right(network, alone.images, y) == right(network, together.images, y)).float().mean() > 0.95


def test_batches_change_nothing() -> None:
    network, x, y = trained()
    attack = APGD(epsilon=0.008, steps=6)
    whole = attack.perturb_pool(network, x, y, generator(), batch_size=100).images
    parts = attack.perturb_pool(network, x, y, generator(), batch_size=7).images
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-5)


def test_restarts_and_targets_only_fool_more() -> None:
    network, x, y = trained()
    for more, fewer in (({"restarts": 4}, {}), ({"loss": "targeted_dlr"}, {"loss": "targeted_dlr", "targets": 1})):
        stand = [
            right(network, APGD(epsilon=0.008, steps=4, **given).perturb(network, x, y, generator()).images, y)  # type: ignore[arg-type]
            for given in (fewer, more)
        ]
        assert bool((stand[1] <= stand[0]).all()) and stand[1].sum() > 0


@pytest.mark.parametrize("given", [{"targets": 3}, {"targets_by": "almost_linear", "loss": "dlr"}], ids=str)
def test_targets_need_a_loss_that_aims(given: dict[str, object]) -> None:
    with pytest.raises(SpecError, match=r"targets.* has no use .* allowed: with targeted_dlr"):
        APGD.parse({"epsilon": 0.1, **given})
