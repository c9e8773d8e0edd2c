"""What only PGD promises: who leaves the batch, restarts, independence, the training attack."""

import pytest
import torch
from torch import Tensor, nn
from toy_networks import SHAPE, Counting, Linear, trained

from benchmark.evasion.attack import input_gradient
from benchmark.evasion.norms import NORMS
from benchmark.evasion.pgd import PGD, perturb_for_training


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def fooled(model: nn.Module, attack: PGD, x: Tensor, y: Tensor, seed: int = 0) -> Tensor:
    found = attack.perturb(model, x, y, generator(seed)).images
    with torch.no_grad():
        return model(found).argmax(1) != y


def test_fooled_images_leave_the_batch() -> None:
    """Linear model, no random start: an image whose margin is n - 1/2 steps away falls at step n exactly."""
    model = Linear()
    step = 0.01
    reach = step * model.dual_norm("linf")
    falls_after = torch.tensor([-0.5, 0.5, 0.5, 1.5, 3.5, 9.0])
    y = torch.ones(6, dtype=torch.int64)
    counting = Counting(model)
    attack = PGD(epsilon=0.05, steps=5, step_size=step, random_start=False)
    attack.perturb(counting, model.images_at(falls_after * reach, y), y, generator())
    # the clean pass sees 6; then 5 that were right, and so on; the pass after the last step sees who still stands
    assert counting.sizes == [6, 5, 5, 3, 2, 2, 1]


def test_a_batch_without_a_standing_image_costs_one_pass() -> None:
    model = Counting(Linear())
    y = torch.zeros(4, dtype=torch.int64)
    x = model.network.images_at(torch.full((4,), -1.0), y)  # type: ignore[operator]
    done = PGD(epsilon=0.1, restarts=3).perturb(model, x, y, generator())
    assert model.sizes == [4] and torch.equal(done.images, x) and done.loss.shape == (0,)


def test_restarts_only_fool_more() -> None:
    network, x, y = trained()
    weak = {"epsilon": 0.012, "steps": 2}
    sets = [fooled(network, PGD(restarts=n, **weak), x, y) for n in (1, 2, 8)]
    for fewer, more in zip(sets, sets[1:], strict=False):
        assert bool((fewer <= more).all())
    assert sets[0].sum() < sets[-1].sum() < len(x)


def test_the_loss_is_that_of_the_first_restart() -> None:
    network, x, y = trained()
    once, thrice = (PGD(epsilon=0.012, steps=2, restarts=n).perturb(network, x, y, generator()).loss for n in (1, 3))
    assert torch.equal(once, thrice) and len(once) == 3


def test_restarts_see_only_images_that_stand() -> None:
    network, x, y = trained()
    counting = Counting(network)
    attack = PGD(epsilon=0.012, steps=2, restarts=3)
    attack.perturb(counting, x, y, generator())
    assert counting.sizes == sorted(counting.sizes, reverse=True)
    assert counting.sizes[-1] == len(x) - fooled(network, PGD(epsilon=0.012, steps=2, restarts=2), x, y).sum()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_an_image_does_not_depend_on_its_neighbors(norm: str) -> None:
    """Other images at the other places fall at other times: this one's result stays, up to rounding."""
    network, x, y = trained()
    epsilon = 0.01 if norm == "linf" else 0.1
    attack = PGD(norm=norm, epsilon=epsilon, steps=5)  # type: ignore[arg-type]
    together = attack.perturb(network, x, y, generator()).images
    mixed_x, mixed_y = x.clone(), y.clone()
    mixed_x[1::2] = x[1::2].flip(0)
    mixed_y[1::2] = (y[1::2] + 1) % 4
    mixed = attack.perturb(network, mixed_x, mixed_y, generator()).images
    torch.testing.assert_close(mixed[::2], together[::2], rtol=0, atol=1e-5)
    assert not torch.allclose(mixed[1::2], together[1::2], atol=1e-3)


def test_more_steps_fool_more() -> None:
    network, x, y = trained()
    one, many = (fooled(network, PGD(epsilon=0.015, steps=n), x, y).sum() for n in (1, 20))
    assert one < many


def test_a_huge_ball_fools_everything() -> None:
    network, x, y = trained()
    assert fooled(network, PGD(epsilon=0.5, steps=40), x, y).all()


def test_no_step_size_is_two_and_a_half_balls_over_the_steps() -> None:
    network, x, y = trained()
    given = PGD(epsilon=0.02, steps=5, step_size=0.01).perturb(network, x, y, generator()).images
    assert torch.equal(PGD(epsilon=0.02, steps=5).perturb(network, x, y, generator()).images, given)
    assert not torch.equal(
        PGD(epsilon=0.02, steps=5, step_size=0.004).perturb(network, x, y, generator()).images, given
    )


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_training_example_is_the_closed_form_on_a_linear_model(norm: str) -> None:
    """Every image takes every step, also those that are fooled already."""
    model = Linear()
    y = torch.tensor([0, 1, 1, 0])
    x = model.images_at(torch.tensor([-1.0, 0.5, 9.0, 2.0]), y)
    given, epsilon = x.clone(), 0.04 if norm == "linf" else 0.3
    counting = Counting(model)
    made = perturb_for_training(counting, x, y, norm, epsilon, 60, epsilon / 8, generator())
    assert counting.sizes == [4] * 60 and torch.equal(x, given)
    worst = -epsilon * (2 * y - 1).view(-1, 1, 1, 1) * model.steepest(norm)
    assert NORMS[norm].size(made - x - worst).max() <= (0.02 * epsilon if norm == "l2" else 1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_training_example_stays_inside_and_follows_its_seed(norm: str) -> None:
    network, x, y = trained()
    made = [perturb_for_training(network, x, y, norm, 0.2, 3, 0.1, generator(s)) for s in (0, 0, 1)]
    assert torch.equal(made[0], made[1]) and not torch.equal(made[0], made[2])
    assert 0 <= made[0].min() and made[0].max() <= 1 and not made[0].requires_grad
    assert 0.1 < NORMS[norm].size(made[0] - x).max() <= 0.2 + 1e-6


def test_the_box_cuts_the_ball() -> None:
    """Black and white images: half of every perturbation would leave [0, 1]."""
    model = Linear()
    x = (torch.rand(6, *SHAPE, generator=generator(5)) > 0.5).float()
    with torch.no_grad():
        y = model(x).argmax(1)
    found = PGD(epsilon=0.001, random_start=False).perturb(model, x, y, generator()).images
    worst = (x - 0.001 * (2 * y - 1).view(-1, 1, 1, 1) * model.weight.detach().sign()).clamp(0, 1)
    torch.testing.assert_close(found, worst, rtol=0, atol=1e-6)


class Momentum(PGD):
    """MI-FGSM (Dong et al. 2018)."""

    random_start: bool = False

    def follow(self, gradient: Tensor, followed: Tensor | None) -> Tensor:
        fresh = gradient / gradient.abs().mean((1, 2, 3), keepdim=True).clamp_min(1e-37)
        return fresh if followed is None else followed + fresh


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_step_may_follow_what_came_before_it_though_images_leave_the_batch(norm: str) -> None:
    """Against a plain loop over each image by itself, for as long as the network has it right."""
    network, x, y = trained()
    attack = Momentum(norm=norm, epsilon=0.02 if norm == "linf" else 0.3, steps=6, restarts=1)  # type: ignore[arg-type]
    made = attack.perturb(network, x, y, generator()).images
    length, differs = 2.5 * attack.epsilon / 6, 0
    for i in range(len(x)):
        now, velocity = x[i : i + 1], torch.zeros_like(x[:1])
        for _ in range(6):
            gradient, logits, _ = input_gradient(network, now, y[i : i + 1])
            if logits.argmax(1) != y[i]:
                break
            velocity = velocity + gradient / gradient.abs().mean()
            way = velocity.sign() if norm == "linf" else velocity / velocity.norm()
            delta = now + length * way - x[i : i + 1]
            size = delta.abs().max() if norm == "linf" else delta.norm()
            delta = (
                delta.clamp(-attack.epsilon, attack.epsilon)
                if norm == "linf"
                else delta * min(1, attack.epsilon / size)
            )
            now = (x[i : i + 1] + delta).clamp(0, 1)
        differs += int((made[i] - now[0]).abs().max() > 1e-3)
    assert differs <= 1, "rounding may turn the sign of a gradient that is next to nothing"
    plain = PGD(norm=norm, epsilon=attack.epsilon, steps=6, random_start=False)  # type: ignore[arg-type]
    assert not torch.equal(plain.perturb(network, x, y, generator()).images, made)
