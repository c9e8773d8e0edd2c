"""Level sizes, budgets and the blur by hand; the descent against plain gradient descent."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from victims import NUM_CLASSES, PER_CLASS, run

from benchmark.inversion.gradient import GradientInversion
from benchmark.inversion.multiscale import MultiscaleInversion, blurred


@pytest.mark.parametrize(
    ("settings", "size", "expected"),
    [
        ({"octave_scale": 2, "steps": 100}, (28, 28), [(7, 7, 33), (14, 14, 33), (28, 28, 34)]),
        ({"octave_scale": 2, "steps": 101}, (32, 32), [(8, 8, 33), (16, 16, 34), (32, 32, 34)]),
        ({"octave_scale": 2, "octaves": 2, "steps": 8}, (25, 25), [(12, 12, 4), (25, 25, 4)]),
        ({"octave_scale": 2, "octaves": 4, "steps": 2}, (48, 64), [(6, 8, 0), (12, 16, 0), (24, 32, 1), (48, 64, 1)]),
        ({"octaves": 1, "steps": 7}, (28, 28), [(28, 28, 7)]),
        ({"octave_scale": 4, "octaves": 3, "steps": 3}, (4, 4), [(1, 1, 1), (1, 1, 1), (4, 4, 1)]),
    ],
)
def test_levels_by_hand(
    settings: dict[str, object], size: tuple[int, int], expected: list[tuple[int, int, int]]
) -> None:
    assert MultiscaleInversion.parse(settings).levels(*size) == expected


def test_every_level_is_optimised_at_its_own_resolution(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []
    original = MultiscaleInversion._descend

    def watch(self: MultiscaleInversion, model: nn.Module, x: Tensor, *rest: object) -> Tensor:
        made = original(self, model, x, *rest)  # type: ignore[arg-type]
        seen.append((*made.shape[2:], rest[-1]))  # type: ignore[arg-type]
        return made

    monkeypatch.setattr(MultiscaleInversion, "_descend", watch)
    run(MultiscaleInversion(steps=10, octave_scale=2.0))
    assert seen == [(3, 3, 3), (6, 6, 3), (12, 12, 4)]


def test_one_octave_without_blur_is_plain_gradient_descent() -> None:
    settings = {"samples_per_class": PER_CLASS, "steps": 10, "step_size": 0.3}
    plain = run(GradientInversion.parse(settings))
    assert torch.equal(run(MultiscaleInversion.parse({**settings, "octaves": 1, "blur": 0})), plain)


def test_a_coarse_step_changes_a_pixel_as_much_by_hand() -> None:
    """A linear model and one step at half the size: the l2 length of the coarse step is half the step size."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, NUM_CLASSES))
    with torch.no_grad():
        model[1].weight.copy_(torch.randn(NUM_CLASSES, 144, generator=torch.Generator().manual_seed(1)) / 12)
    case = MultiscaleInversion(objective="logit", octaves=2, octave_scale=2.0, steps=2, step_size=0.4)
    start = 0.5 * torch.ones(2, 1, 6, 6)
    made = case._descend(model, start, torch.tensor([1, 3]), (12, 12), 1)
    templates = model[1].weight[[1, 3]].detach().view(2, 1, 12, 12)
    # The transpose of enlarging by 2, bilinear: the gradient on the coarse grid, from its definition.
    basis = functional.interpolate(torch.eye(36).view(36, 1, 6, 6), (12, 12), mode="bilinear").flatten(1)
    uphill = templates.flatten(1) @ basis.T
    expected = 0.5 + 0.2 * (uphill / uphill.norm(dim=1, keepdim=True)).view(2, 1, 6, 6)
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-5)


def test_blending_by_hand() -> None:
    """No budget at the last level, so that only the blend is left."""
    fresh = [torch.full((1, 1, 2, 2), 0.2), torch.full((1, 1, 4, 4), 0.6)]
    levels = [(2, 2, 0), (4, 4, 0)]
    for blend, expected in (("noise", 0.75 * 0.2 + 0.25 * 0.6), ("previous", 0.2)):
        case = MultiscaleInversion.parse({"blend": blend, "blend_share": 0.25})
        made = case._climb(nn.Identity(), levels, fresh, torch.zeros(1, dtype=torch.int64))
        assert made.shape == (1, 1, 4, 4) and made.flatten().tolist() == pytest.approx([expected] * 16)


def test_a_share_of_the_level_before_holds_a_level_back() -> None:
    settings = {"steps": 12, "blend": "previous", "samples_per_class": PER_CLASS, "octave_scale": 2}
    free, held = (run(MultiscaleInversion.parse({**settings, "blend_share": share})) for share in (0.0, 0.9))

    def detail(x: Tensor) -> float:
        return float((x - blurred(x, 1.5)).norm())

    assert detail(held) < 0.5 * detail(free)


def test_the_blur_by_hand() -> None:
    impulse = torch.zeros(1, 1, 15, 15)
    impulse[0, 0, 7, 7] = 1
    weights = torch.tensor([math.exp(-(d**2) / 2) for d in range(-7, 8)])
    weights /= weights.sum()
    torch.testing.assert_close(blurred(impulse, 1.0)[0, 0], weights[:, None] * weights, rtol=1e-5, atol=1e-7)
    constant = torch.full((2, 3, 5, 4), 0.7)
    torch.testing.assert_close(blurred(constant, 2.0), constant)
    assert blurred(impulse, 0.0) is impulse


def test_more_blur_makes_smoother_images() -> None:
    def roughness(blur: float) -> float:
        made = run(MultiscaleInversion(blur=blur, steps=30, samples_per_class=PER_CLASS))
        return float((made - blurred(made, 1.0)).norm())

    assert roughness(1.5) < 0.8 * roughness(0.0)
