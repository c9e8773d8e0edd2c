"""Near-duplicate groups against the definition, and on groups planted by hand."""

import pytest
import torch
from torch import Tensor

from benchmark.data.members.duplicates import exact_repeats, near_duplicate_groups


def by_definition(images: Tensor, mean_image: Tensor, threshold: float) -> list[int]:
    """Flood fill over every pair."""
    centred = (images.double() - mean_image.double()).flatten(1)
    close = torch.nn.functional.normalize(centred) @ torch.nn.functional.normalize(centred).T > threshold
    groups = list(range(len(images)))
    changed = True
    while changed:
        smallest = [min(groups[j] for j in [i, *close[i].nonzero()[:, 0].tolist()]) for i in range(len(images))]
        changed, groups = smallest != groups, smallest
    return groups


def random_images(num: int, side: int, generator: torch.Generator) -> Tensor:
    return torch.randint(0, 256, (num, 1, side, side), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("threshold", [0.7, 0.9, 0.97])
@pytest.mark.parametrize("side", [3, 12])
def test_equals_the_definition(threshold: float, side: int) -> None:
    """Originals under more and less noise are alike in every degree; the sketch is wider than 9 pixels only."""
    generator = torch.Generator().manual_seed(side)
    originals = random_images(30, side, generator).float().repeat(5, 1, 1, 1)
    share = torch.rand(150, 1, 1, 1, generator=generator)
    images = (share * originals + (1 - share) * random_images(150, side, generator)).to(torch.uint8)
    mean_image = images.float().mean(0)
    groups = near_duplicate_groups(images, mean_image, threshold).tolist()
    assert groups == by_definition(images, mean_image, threshold)
    assert 1 < len(set(groups)) < 150


def test_planted_copies_are_found_and_nothing_else() -> None:
    generator = torch.Generator().manual_seed(0)
    images = random_images(300, 10, generator)
    images[[40, 250]] = images[7].clone()
    images[120] = (images[60].int() + torch.randint(-8, 9, (1, 10, 10), generator=generator)).clamp(0, 255).byte()
    expected = list(range(300))
    expected[40] = expected[250] = 7
    expected[120] = 60
    assert near_duplicate_groups(images, images.float().mean(0), 0.98).tolist() == expected


def test_a_chain_is_one_group_though_its_ends_differ() -> None:
    angle = torch.arange(5) * torch.pi / 10
    images = torch.stack([100 * angle.cos(), 100 * angle.sin()], dim=1).round().to(torch.uint8)[:, None, None]
    neighbor, next_but_one = torch.cos(angle[1]), torch.cos(angle[2])
    threshold = float(neighbor + next_but_one) / 2
    assert near_duplicate_groups(images, torch.zeros(1, 1, 2), threshold).tolist() == [0] * 5


def test_more_copies_than_are_fetched_at_first_are_one_group() -> None:
    images = random_images(200, 6, torch.Generator().manual_seed(1))
    images[50:] = images[50].clone()
    groups = near_duplicate_groups(images, images[:50].float().mean(0), 0.99)
    assert groups.tolist() == [*range(50), *([50] * 150)]


def test_images_that_equal_the_mean_are_like_nothing() -> None:
    images = torch.full((4, 1, 2, 2), 9, dtype=torch.uint8)
    assert near_duplicate_groups(images, torch.full((1, 2, 2), 9.0), 0.5).tolist() == [0, 1, 2, 3]


def test_exact_repeats_are_equal_to_the_last_pixel() -> None:
    images = random_images(20, 5, torch.Generator().manual_seed(2))
    others = torch.cat([images[3:5], random_images(9, 5, torch.Generator().manual_seed(3)), images[7:9]])
    others[1, 0, 4, 4] ^= 1
    assert exact_repeats(images, others).nonzero()[:, 0].tolist() == [3, 7, 8]
    assert not exact_repeats(images.transpose(2, 3), others).any()
