"""Starts, step rules and schedules that the attacks on pixels share."""

from typing import ClassVar

import pytest
import torch
from torch import Tensor
from victims import NUM_CLASSES, pools, run, victim

from benchmark.inversion.attack import Victim
from benchmark.inversion.deepinversion import DeepInversion
from benchmark.inversion.descent import Adam, Descent, class_gaussian, direction
from benchmark.inversion.gradient import GradientInversion
from benchmark.inversion.mi_face import MIFace
from benchmark.inversion.multiscale import MultiscaleInversion


def starts(**settings: object) -> Tensor:
    case = GradientInversion.parse({"samples_per_class": 500, **settings})
    return case.starts(victim(), torch.Generator().manual_seed(0))


def test_starts_are_what_they_are_called() -> None:
    uniform = starts(start="uniform")
    assert uniform.mean().item() == pytest.approx(0.5, abs=0.01)
    assert uniform.std().item() == pytest.approx(12**-0.5, abs=0.01)
    grey = starts(start_mean=0.4, start_std=0.05)
    assert (grey.mean().item(), grey.std().item()) == pytest.approx((0.4, 0.05), abs=0.001)
    black = starts(start_mean=0, start_std=0.001)
    assert 0 == black.min() and black.max() < 0.01
    assert not starts(start="zeros").any()


def test_a_class_gaussian_has_the_mean_and_the_covariance_of_the_class() -> None:
    generator = torch.Generator().manual_seed(0)
    mixing = 0.1 * torch.randn(4, 8, generator=generator)
    images = (0.5 + torch.randn(60, 4, generator=generator) @ mixing).view(60, 2, 2, 2)
    drawn = class_gaussian(images, 40_000, 1, generator).flatten(1)
    expected = torch.cov(images.flatten(1).T) + 1e-4 * torch.eye(8)
    torch.testing.assert_close(drawn.mean(0), images.flatten(1).mean(0), rtol=0, atol=0.005)
    torch.testing.assert_close(torch.cov(drawn.T), expected, rtol=0, atol=0.03 * expected.diag().max().item())


def test_a_coarse_class_gaussian_is_of_block_means() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(50, 1, 5, 4, generator=generator)
    drawn = class_gaussian(images, 20_000, 2, generator)
    assert drawn.shape == (20_000, 1, 5, 4)
    assert torch.equal(drawn[:, :, 0:4:2, ::2], drawn[:, :, 1:4:2, 1::2])
    corner = images[:, 0, :2, :2].mean((1, 2))
    assert drawn[:, 0, 0, 0].mean().item() == pytest.approx(corner.mean().item(), abs=0.005)
    assert drawn[:, 0, 0, 0].var().item() == pytest.approx(corner.var().item() + 1e-4, rel=0.05)


def test_each_class_starts_from_its_own_images() -> None:
    images, labels = pools()[2]
    drawn = starts(start="class_gaussian").view(NUM_CLASSES, 500, -1).mean(1)
    means = torch.stack([images[labels == c].float().flatten(1).mean(0) / 255 for c in range(NUM_CLASSES)])
    torch.testing.assert_close(drawn, means, rtol=0, atol=0.03)


def test_a_class_without_auxiliary_images_is_one_clear_error() -> None:
    known = victim()
    images, labels = known.auxiliary
    few = (images[labels != 2], labels[labels != 2])
    without = Victim(known.model, known.shape, NUM_CLASSES, known.device, known.members, known.non_members, few)
    with pytest.raises(ValueError, match=r"start.*class 2.*there are 0; allowed: gaussian"):
        GradientInversion(start="class_gaussian").starts(without, torch.Generator())


def test_adam_is_that_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(30, 5, generator=generator) * torch.tensor([1e-6, 1e-2, 1.0, 50.0, 0.0])
    theirs = torch.nn.Parameter(torch.zeros(5))
    optimizer, ours, step = torch.optim.Adam([theirs], lr=0.1), torch.zeros(5), Adam()
    for gradient in gradients:
        theirs.grad = gradient.clone()
        optimizer.step()
        ours = ours - 0.1 * step(gradient)
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-5, atol=1e-6)


def test_the_other_step_rules_by_hand() -> None:
    gradient = torch.tensor([[[[3.0, -4.0]]]])
    assert direction("steepest", "l2")(gradient).tolist() == [[[[pytest.approx(0.6), pytest.approx(-0.8)]]]]
    assert direction("steepest", "linf")(gradient).tolist() == [[[[1.0, -1.0]]]]
    assert direction("sign", "l2")(gradient).tolist() == [[[[1.0, -1.0]]]]


class Noting:
    """What `after_step` was given."""

    parts: ClassVar[list[float]] = []


class GreyGradient(GradientInversion):
    def after_step(self, images: Tensor, part: float) -> Tensor:
        Noting.parts.append(part)
        return images.mean((2, 3), keepdim=True).expand_as(images)


class GreyMultiscale(MultiscaleInversion):
    after_step = GreyGradient.after_step


class GreyDeep(DeepInversion):
    after_step = GreyGradient.after_step


class GreyFace(MIFace):
    gamma: float = 0.0
    beta: int | None = 5
    after_step = GreyGradient.after_step


@pytest.mark.parametrize("method", [GreyGradient, GreyMultiscale, GreyDeep, GreyFace], ids=lambda m: m.__name__)
def test_something_may_become_of_images_after_each_step(method: type[Descent]) -> None:
    """All grey: whatever the gradient says, what comes out has one value a image and channel."""
    Noting.parts.clear()
    made = run(method(samples_per_class=2, steps=4, **({"octaves": 2} if method is GreyMultiscale else {})))
    if method is not GreyFace:  # its best image may be the start
        assert (made.flatten(2).std(2) < 1e-6).all() and made.unique().numel() > 1
    assert Noting.parts == ([0.5, 1, 0.5, 1] if method is GreyMultiscale else [0.25, 0.5, 0.75, 1])


def test_what_becomes_of_them_never_leaves_the_ball() -> None:
    settings = {"samples_per_class": 2, "steps": 4, "radius": 0.3}
    made = run(GreyGradient.parse(settings))
    begun = GreyGradient.parse(settings).starts(victim(), torch.Generator().manual_seed(0))
    assert ((made - begun).flatten(1).norm(dim=1) <= 0.3 + 1e-5).all()
