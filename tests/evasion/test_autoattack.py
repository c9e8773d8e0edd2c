"""What ensembles promise: order and settings, each part anew on what stands, the word of the network itself."""

from collections.abc import Sequence
from typing import ClassVar

import pytest
import torch
from test_evasion_attacks import right
from torch import Tensor, nn
from toy_networks import Linear, trained

from benchmark import registry
from benchmark.evasion.apgd import APGD
from benchmark.evasion.attack import Perturbed
from benchmark.evasion.autoattack import AutoAttack, AutoAttackQuick, Ensemble
from benchmark.evasion.pmd import PMD
from benchmark.evasion.pooled import PooledEvasion
from benchmark.planning.labels import label


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Moves(PooledEvasion):
    """Moves the images `which` by `share` of epsilon the worst way, and notes what it was given."""

    given: ClassVar[list[Tensor]] = []
    which: tuple[int, ...]
    share: float

    def perturb_pool(
        self, model: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator, batch_size: int
    ) -> Perturbed:
        self.given.append(images.clone())
        assert isinstance(model, Linear)
        moved, ids = images.clone(), list(self.which)
        worst = -self.epsilon * (2 * labels - 1).view(-1, 1, 1, 1) * model.steepest(self.norm)
        moved[ids] += self.share * worst[ids]
        return Perturbed(moved, torch.zeros(0))


class Three(Ensemble):
    @property
    def parts(self) -> Sequence[PooledEvasion]:
        return (
            Moves(epsilon=self.epsilon, which=(0, 1), share=1.0),
            Moves(epsilon=self.epsilon, which=(2, 3), share=0.5),
            Moves(epsilon=self.epsilon, which=(1, 3), share=0.4),
        )


class MovesUnseen(Moves):
    KIND = "black_box"


class EndsWithBlackBox(Ensemble):
    @property
    def parts(self) -> Sequence[PooledEvasion]:
        first = Moves(epsilon=self.epsilon, which=(0, 1), share=1.0)
        return (first, MovesUnseen(epsilon=self.epsilon, which=(1, 2, 3), share=1.0))


def test_an_ensemble_says_what_its_black_box_part_alone_fooled() -> None:
    """0 and 1 fall to the first part; of the others the second can fool 2, and 3 is wrong already."""
    model, y = Linear(), torch.zeros(5, dtype=torch.int64)
    margins = torch.tensor([0.5, 0.6, 0.7, -0.1, 0.5])
    x = model.images_at(margins * 0.02 * model.dual_norm("linf"), y)
    found = EndsWithBlackBox(epsilon=0.02).perturb(model, x, y, generator())
    assert found.by_black_box is not None and found.by_black_box.tolist() == [False, False, True, False, False]
    assert Three(epsilon=0.02).perturb(model, x, y, generator()).by_black_box is None
    assert any(part.KIND == "black_box" for part in AutoAttack(epsilon=0.02).parts)


def test_each_part_starts_anew_on_what_stands_and_the_network_has_the_last_word() -> None:
    model = Linear()
    y = torch.zeros(5, dtype=torch.int64)
    margins = torch.tensor([0.5, 0.6, 0.7, 0.2, -0.1])  # of what epsilon reaches; the last is wrong already
    x = model.images_at(margins * 0.02 * model.dual_norm("linf"), y)
    Moves.given.clear()
    found = Three(epsilon=0.02).perturb(model, x, y, generator()).images
    first, second, third = Moves.given
    assert torch.equal(first, x)
    assert torch.equal(second[2:], x[2:]) and not right(model, second[:2], y[:2]).any()
    assert torch.equal(third[2], x[2]), "half of what it takes was in vain: the next part gets the clean image"
    assert right(model, found, y).tolist() == [False, False, True, False, False]
    assert torch.equal(found[:2], second[:2]), "what fooled first is kept"
    way = 0.01 * model.steepest("linf")
    torch.testing.assert_close(found[2], x[2] + way)  # who stands comes back at the worst point that was found
    torch.testing.assert_close(found[3], x[3] + way)
    assert torch.equal(found[4], x[4])


def test_a_part_that_finds_all_fallen_is_not_asked() -> None:
    model = Linear()
    y = torch.zeros(4, dtype=torch.int64)
    Moves.given.clear()
    Three(epsilon=0.02).perturb(model, model.images_at(torch.full((4,), -1.0), y), y, generator())
    assert Moves.given == []


def dumped(attack: Ensemble) -> list[dict[str, object]]:
    keep = ("method", "loss", "targets", "targets_by", "steps", "restarts", "rho", "alpha_max", "eta", "beta", "p_init")
    told = [registry.dump("evasion", part) for part in attack.parts]
    assert all((each["norm"], each["epsilon"]) == (attack.norm, attack.epsilon) for each in told)
    return [{key: value for key, value in each.items() if key in (*keep, "queries")} for each in told]


def test_the_standard_version_is_that_of_the_paper() -> None:
    apgd = {"method": "apgd", "steps": 100, "restarts": 1, "rho": 0.75, "targets": 9, "targets_by": "logits"}
    assert dumped(AutoAttack(norm="l2", epsilon=0.5)) == [
        {**apgd, "loss": "cross_entropy"},
        {**apgd, "loss": "targeted_dlr"},
        {"method": "fab", "targets": 9, "steps": 100, "restarts": 1, "alpha_max": 0.1, "eta": 1.05, "beta": 0.9},
        {"method": "square", "queries": 5000, "p_init": 0.8},
    ]


def test_the_screen_goes_before_the_whole_standard() -> None:
    plain, screened = AutoAttack(epsilon=0.1), AutoAttack(epsilon=0.1, screen=True)
    assert list(screened.parts) == [*AutoAttackQuick(epsilon=0.1).parts, *plain.parts]
    assert [type(part) for part in AutoAttackQuick(epsilon=0.1).parts] == [PMD, APGD]
    assert (
        label("evasion", screened) == "autoattack-linf-0.1-screen" and label("evasion", plain) == "autoattack-linf-0.1"
    )
    assert screened.passes == plain.passes + AutoAttackQuick(epsilon=0.1).passes


@pytest.mark.parametrize("key", ["steps", "targets", "queries", "restarts"])
def test_its_budget_cannot_be_set(key: str) -> None:
    with pytest.raises(ValueError, match=f"unknown key '{key}'"):
        AutoAttack.parse({"epsilon": 0.1, key: 3})


def test_the_quick_one_leaves_no_more_than_its_parts() -> None:
    network, x, y = trained()
    attack = AutoAttackQuick(epsilon=0.008)
    stands = right(network, attack.perturb(network, x, y, generator()).images, y)
    alone = [right(network, part.perturb(network, x, y, generator()).images, y) for part in attack.parts]
    assert 0 < stands.sum() <= min(int(part.sum()) for part in alone)
    assert bool((stands <= alone[0]).all())


class Screened(Ensemble):
    """A short standard, with or without the screen."""

    screen: bool

    @property
    def parts(self) -> Sequence[PooledEvasion]:
        standard = (APGD(epsilon=self.epsilon, steps=4), APGD(epsilon=self.epsilon, steps=4, loss="dlr"))
        return (*AutoAttackQuick(epsilon=self.epsilon).parts, *standard) if self.screen else standard


class Draws(PooledEvasion):
    """Notes the first number that it draws."""

    drawn: ClassVar[list[float]] = []

    def perturb_pool(
        self, model: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator, batch_size: int
    ) -> Perturbed:
        self.drawn.append(torch.rand((), generator=generator).item())
        return Perturbed(images, torch.zeros(0))


class Several(Ensemble):
    count: int

    @property
    def parts(self) -> Sequence[PooledEvasion]:
        return [Draws(epsilon=self.epsilon)] * self.count


def test_a_part_draws_the_same_whatever_comes_before_it() -> None:
    model = Linear()
    y = torch.zeros(2, dtype=torch.int64)
    x = model.images_at(torch.full((2,), 1.0), y)
    found = []
    for count in (2, 4):
        Draws.drawn.clear()
        Several(epsilon=0.1, count=count).perturb(model, x, y, generator())
        found.append(list(Draws.drawn))
    assert found[1][2:] == found[0] and len({*found[1]}) == 4


def test_the_screen_frees_no_image() -> None:
    network, x, y = trained()
    plain, screened = (
        right(network, Screened(epsilon=0.008, screen=on).perturb(network, x, y, generator()).images, y)
        for on in (False, True)
    )
    assert bool((screened <= plain).all()) and 0 < screened.sum()


@pytest.mark.parametrize("attack", [AutoAttack(epsilon=0.1), AutoAttackQuick(epsilon=0.1)], ids=["standard", "quick"])
def test_it_says_what_it_does_where_there_are_few_classes(attack: Ensemble) -> None:
    assert attack.remark(4) == ""
    assert attack.remark(3) == "targeted_dlr needs 4 classes: of 3 the margin of the logits stands in for it"
    assert APGD(epsilon=0.1, loss="dlr").remark(3) == "" and "needs 3 classes: of 2" in APGD(
        epsilon=0.1, loss="dlr"
    ).remark(2)
    assert PMD(epsilon=0.1).remark(2) == APGD(epsilon=0.1).remark(2) == ""
