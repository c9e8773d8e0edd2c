"""The GAN-type attack: its prior against colours known beforehand, its search against counts and cases by hand."""

import functools

import pytest
import torch
from torch import Tensor, nn

from benchmark.inversion.attack import Victim, counted
from benchmark.inversion.dcgan import DCGAN, augmented
from benchmark.inversion.dcgan_networks import operations, sides
from benchmark.inversion.generator import GeneratorInversion
from benchmark.inversion.prior import Sampler
from benchmark.planning.labels import label
from benchmark.spec import SpecError

SMALL = DCGAN(width=4, latent=8, steps=3, batch_size=8)
TOY = DCGAN(width=8, latent=4, steps=150, batch_size=16, lr=1e-3, average=0.9)
COLOURS = torch.tensor([[204, 51, 26], [26, 77, 179]], dtype=torch.uint8)


def noise(shape: tuple[int, ...], num_classes: int = 2, n: int = 20) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, *shape), dtype=torch.uint8, generator=generator), torch.arange(n) % num_classes


@functools.cache
def coloured() -> tuple[Sampler, dict[str, Tensor]]:
    """A prior of images that are one colour a class, more or less bright."""
    labels = torch.arange(64) % 2
    light = torch.empty(64, 1, 1, 1).uniform_(0.8, 1.2, generator=torch.Generator().manual_seed(3))
    images = (COLOURS[labels].float()[:, :, None, None] * light).expand(-1, -1, 16, 16).byte()
    weights, _ = TOY.fit(images, labels, 2, torch.Generator().manual_seed(2))
    return TOY.sampler((3, 16, 16), 2, weights), weights


# The prior


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 25, 25), (1, 28, 28), (3, 32, 32), (1, 48, 48), (3, 30, 17)])
def test_images_have_the_size_and_range_of_the_data(shape: tuple[int, int, int]) -> None:
    state = torch.get_rng_state()
    images, labels = noise(shape, 3)
    weights, losses = SMALL.fit(images, labels, 3, torch.Generator().manual_seed(1))
    sampler = SMALL.sampler(shape, 3, weights)
    made = sampler(torch.randn(6, 8, generator=torch.Generator().manual_seed(2)), torch.arange(6) % 3)
    assert made.shape == (6, *shape) and made.dtype == torch.float32
    assert 0 <= made.min() and made.max() <= 1 and made.std() > 0
    assert sampler.realism(made, torch.arange(6) % 3).shape == (6,)
    assert len(losses) == 3 and not any(p.requires_grad for p in sampler.parameters())
    assert torch.equal(torch.get_rng_state(), state), "randomness must come from the generator alone"


def test_sides_halve_and_round_up() -> None:
    assert sides(28, 28) == [(28, 28), (14, 14), (7, 7)]
    assert sides(25, 30) == [(25, 30), (13, 15), (7, 8), (4, 4)]


def test_the_same_seed_gives_the_same_weights() -> None:
    images, labels = noise((1, 16, 16))
    first, again, other = (
        SMALL.fit(images, labels, 2, torch.Generator().manual_seed(seed))[0]["start.weight"] for seed in (1, 1, 2)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.slow
def test_it_learns_the_colour_of_each_class() -> None:
    sampler, _ = coloured()
    labels = torch.arange(40) % 2
    made = sampler(torch.randn(40, 4, generator=torch.Generator().manual_seed(9)), labels)
    colours, found = COLOURS.float() / 255, made.mean((2, 3))
    own, other = ((found - colours[which]).norm(dim=1) for which in (labels, 1 - labels))
    assert (own < 0.5 * other).all(), (own, other)


def test_augmentations_move_and_cut_and_gradients_pass() -> None:
    x = torch.ones(50, 2, 16, 24, requires_grad=True)
    out = augmented(x, torch.Generator().manual_seed(0))
    assert out.shape == x.shape and set(out.unique().tolist()) == {0.0, 1.0}
    kept = out.mean((1, 2, 3))
    # The box takes 5 x 8 of 16 x 24; moves by up to 2 and 3 pixels take 2/16 and 3/24 at the most.
    assert kept.min() >= (1 - 2 / 16) * (1 - 3 / 24) - 5 * 8 / (16 * 24) - 1e-6 and kept.max() <= 1 - 5 * 8 / 384 + 0.05
    assert len(kept.unique()) > 3
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert gradient.sum() == out.sum(), "every pixel is copied once or lost"


@pytest.mark.slow
def test_training_that_breaks_is_an_error() -> None:
    images, labels = noise((1, 16, 16))
    with pytest.raises(FloatingPointError, match="try a smaller lr"):
        DCGAN(width=4, latent=8, steps=60, batch_size=8).model_copy(update={"lr": 1e30}).fit(
            images, labels, 2, torch.Generator()
        )


def test_operations_by_hand() -> None:
    # 28 -> 14 -> 7 with 1, w, 2w channels: 2 * 16 * (1 * w * 196 + w * 2w * 49), and a linear layer each
    convolutions = 32 * (3 * 196 + 18 * 49)
    size = 6 * 49
    assert operations((1, 28, 28), 3, 5) == (convolutions + 2 * 5 * size, convolutions + 2 * size * 12)


# The search


class Plain(Sampler):
    """An image of one pixel that is the latent itself, and the more real, the further from 0."""

    latent = 1

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        return latents.view(-1, 1, 1, 1)

    def realism(self, images: Tensor, labels: Tensor) -> Tensor:
        return images.flatten(1).abs().sum(1)


class Wells(nn.Module):
    """Class 1 has logit -depth within 0.5 of each of three places, and -9 far from all."""

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        places, heights = torch.tensor([-4.0, 0.0, 4.0]), torch.tensor([1.0, 3.0, 2.0])
        own = (heights * torch.exp(-((x - places) ** 2))).sum(1)
        return torch.stack([torch.zeros(len(x)), own], 1)


def victim(model: nn.Module, prior: dict[str, Tensor], shape: tuple[int, int, int] = (3, 16, 16)) -> Victim:
    """Of nobody's images: an attack that looked at one would fail."""
    empty = (torch.empty(0, *shape, dtype=torch.uint8), torch.empty(0, dtype=torch.int64))
    return Victim(model, shape, 2, torch.device("cpu"), empty, empty, empty, prior)


def linear() -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Linear(768, 2))
    with torch.no_grad():
        model[1].weight.copy_(torch.randn(2, 768, generator=torch.Generator().manual_seed(4)) / 10)
        model[1].bias.zero_()
    return model


ATTACK = GeneratorInversion(samples_per_class=5, steps=60, candidates=4, prior=TOY)


def run(attack: GeneratorInversion, model: nn.Module, seed: int = 0) -> Tensor:
    return attack.reconstruct(victim(model, coloured()[1]), torch.Generator().manual_seed(seed))


def test_best_of_n_picks_the_best_by_the_targets_output() -> None:
    """Latents at three hills of 1, 3 and 2: whatever their order, the one at 3 is found and climbed."""
    attack = GeneratorInversion(steps=30, candidates=3, latent_weight=0.0, realism=0.0, lr=0.05)
    starts = torch.tensor([[-4.3, 0.4, 4.2], [0.3, 4.1, -4.0], [4.0, -4.4, -0.4]])[:, :, None]
    found = attack._search(Wells(), Plain(), starts, torch.ones(3, dtype=torch.int64))
    torch.testing.assert_close(found, torch.zeros(3, 1), rtol=0, atol=0.1)


def test_a_latent_far_from_training_is_held_against_a_candidate() -> None:
    """Two hills of equal height in places of unlike probability."""

    class Even(Wells):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([torch.zeros(len(x)), torch.exp(-((x.flatten(1).abs() - 2) ** 2)).sum(1)], 1)

    starts = torch.tensor([[[3.5], [-2.0]], [[-2.0], [-3.5]]])
    attack = GeneratorInversion(steps=4, candidates=2, latent_weight=1.0, realism=0.0, lr=1e-6)
    found = attack._search(Even(), Plain(), starts, torch.ones(2, dtype=torch.int64))
    torch.testing.assert_close(found, torch.full((2, 1), -2.0), rtol=0, atol=1e-3)


def test_the_loss_by_hand() -> None:
    z, y = torch.tensor([[0.0], [2.0]]), torch.tensor([1, 0])
    logits = Wells()(z)
    margin = GeneratorInversion(objective="margin", latent_weight=0.5, realism=0.0)
    # Mean squares are 0 and 4: (0 - 1)^2 and (4 - 1)^2.
    expected = torch.stack([logits[0, 0] - logits[0, 1] + 0.5, logits[1, 1] - logits[1, 0] + 0.5 * 9])
    torch.testing.assert_close(margin.loss(Wells(), Plain(), z, y), expected)
    # Realism is |z|: 0 lacks 1, and 2 lacks nothing.
    entropy = GeneratorInversion(latent_weight=0.0, realism=0.2).loss(Wells(), Plain(), z, y)
    torch.testing.assert_close(entropy, -logits.log_softmax(1)[[0, 1], y] + torch.tensor([0.2, 0.0]))


@pytest.mark.slow
@pytest.mark.parametrize(("steps", "candidates"), [(200, 4), (200, 1), (61, 5), (7, 2), (0, 4)])
def test_the_budget_is_exact(steps: int, candidates: int) -> None:
    attack = ATTACK.model_copy(update={"steps": steps, "candidates": candidates, "batch_size": 16})
    assert sum(count * each for count, each in attack.rounds()) == steps == attack.passes
    model = linear()
    with counted(model) as passes:
        run(attack, model)
    assert passes.forward == passes.backward == steps * 10


def test_rounds_by_hand_and_too_few_steps() -> None:
    assert GeneratorInversion(steps=200, candidates=4).rounds() == [(4, 16), (2, 33), (1, 70)]
    assert GeneratorInversion(steps=9, candidates=1).rounds() == [(1, 9)]
    with pytest.raises(SpecError, match="11 steps are too few for 4 candidates; allowed: 12 or 0"):
        GeneratorInversion.parse({"steps": 11, "candidates": 4})
    assert GeneratorInversion(steps=12, candidates=4).rounds() == [(4, 1), (2, 2), (1, 4)]


@pytest.mark.slow
def test_the_search_raises_the_targets_confidence_over_its_starts() -> None:
    model, targets = linear(), ATTACK.targets(2)

    def confidence(images: Tensor) -> Tensor:
        return model(images).softmax(1).gather(1, targets[:, None])[:, 0].detach()

    alone = run(ATTACK.without_target(), model)
    found = run(ATTACK.model_copy(update={"realism": 0.0, "latent_weight": 0.0}), model)
    # Candidate 0 of each sample is the start that `alone` shows.
    assert (confidence(found) > confidence(alone)).all()
    assert len(found.flatten(1).unique(dim=0)) == 10, "samples of a class must differ"


def test_without_target_it_is_the_generator_alone() -> None:
    alone = ATTACK.without_target()
    assert (label("inversion", ATTACK), label("inversion", alone), alone.passes) == ("generator", "generator_alone", 0)
    first, other = run(alone, linear()), run(alone, Wells())
    assert torch.equal(first, other), "no target is asked"
