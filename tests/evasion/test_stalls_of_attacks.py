"""On a GPU an attack may wait for the device about once a pass, to let fallen images leave the batch; and no more.

Counted on a stand-in device on the CPU, on which every attack must also give what it gives on the CPU, to the bit.
"""

import functools
from collections import Counter
from fractions import Fraction

import pytest
import torch
from stand_in_device import DEVICE, StandIn, on_device, values
from torch import Tensor
from toy_networks import trained

from benchmark import registry
from benchmark.evasion.attack import Evasion
from benchmark.evasion.fmn import smallest_perturbations

PGD, APGD = {"method": "pgd"}, {"method": "apgd"}
TARGETED = {**APGD, "loss": "targeted_dlr", "targets": 2}
LINF, L2 = {"norm": "linf", "epsilon": 0.02}, {"norm": "l2", "epsilon": 0.3}
TABLE = [
    # settings, the fewest passes of a batch that make the count worth something, stalls a pass
    ({**PGD, **LINF, "steps": 12}, 12, 1),
    ({**PGD, **L2, "steps": 8, "restarts": 2}, 16, 1),
    ({**APGD, **LINF, "steps": 12}, 12, 1),
    ({**TARGETED, **L2, "steps": 8}, 12, 1),
    ({**TARGETED, **LINF, "steps": 8, "targets_by": "almost_linear"}, 12, 1),
    ({"method": "pmd", **L2, "steps": 12}, 12, 1),
    ({"method": "fab", **LINF, "targets": 2, "steps": 6}, 12, Fraction(3, 2)),  # a step is two passes
    ({"method": "fab", **L2, "targets": 2, "steps": 6}, 12, Fraction(3, 2)),
    ({"method": "square", **LINF, "queries": 60, "rescaled": True}, 30, 2),
    ({"method": "square", **L2, "queries": 60, "rescaled": True}, 30, 2),
]
SETTLING = 4
"""Stalls that no step makes: which images are right at all, the end of a restart."""


class Passes(torch.nn.Module):
    """Counts the batches that go through a network."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network, self.count = network, 0

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        logits: Tensor = self.network(x)
        return logits


def attack(settings: dict[str, object]) -> Evasion:
    method = registry.parse("evasion", settings)
    assert isinstance(method, Evasion)
    return method


@functools.cache
def linear() -> tuple[torch.nn.Module, Tensor, Tensor]:
    """A network whose operations are few; about half of its images are fooled in these balls, not all at one step."""
    drawn = torch.Generator().manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 4)).eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(torch.randn(weight.shape, generator=drawn) / 4)
        images = torch.rand(40, 1, 8, 8, generator=drawn)
        return network, images, network(images).argmax(1)


def counted(method: Evasion, on: tuple[torch.nn.Module, Tensor, Tensor]) -> tuple[Counter[str], int]:
    """(stalls, passes) of an attack, whose images are compared with those that it makes on the CPU."""
    network, images, labels = on
    wanted = method.perturb(network, images, labels, torch.Generator().manual_seed(0))
    with StandIn() as device:
        moved = Passes(on_device(network))
        x, y = images.to(DEVICE), labels.to(DEVICE)
        device.stalls.clear()
        found = method.perturb(moved, x, y, torch.Generator().manual_seed(0))
    assert torch.equal(values(found.images), wanted.images) and torch.equal(found.loss, wanted.loss)
    return device.stalls, moved.count


@pytest.mark.parametrize(("settings", "fewest", "most"), TABLE)
def test_stalls_of_a_pass(settings: dict[str, object], fewest: int, most: float) -> None:
    stalls, passes = counted(attack(settings), linear())
    assert passes >= fewest, "nobody stands: nothing is measured"
    assert stalls.total() <= most * passes + SETTLING, stalls


def test_stalls_of_an_ensemble_are_those_of_its_parts() -> None:
    stalls, passes = counted(attack({"method": "autoattack_quick", **LINF}), linear())
    assert stalls.total() <= passes + 3 * SETTLING, stalls


def test_a_prepared_network_does_not_wait() -> None:
    """Channels last, batch norm folded."""
    stalls, passes = counted(attack({"method": "pgd", "epsilon": 0.005, "steps": 4}), trained())
    assert passes == 6 and stalls.total() <= passes + SETTLING, stalls


def test_one_step_waits_for_its_mean_loss_alone() -> None:
    stalls, _ = counted(attack({"method": "fgsm", "epsilon": 0.03}), linear())
    assert stalls.total() == 1, stalls


def test_every_attack_is_counted() -> None:
    ours = {name for name, path in registry.EVASION.items() if path.startswith("benchmark.")}
    made_of_others, without_steps = {"autoattack", "autoattack_quick"}, {"fgsm", "given"}
    assert {row[0]["method"] for row in TABLE} == ours - made_of_others - without_steps


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_smallest_perturbation_waits_once_a_pass(norm: str) -> None:
    network, images, labels = linear()
    wanted = smallest_perturbations(network, images, labels, norm, 8, 48)
    with StandIn() as device:
        moved, x, y = Passes(on_device(network)), images.to(DEVICE), labels.to(DEVICE)
        device.stalls.clear()
        found = smallest_perturbations(moved, x, y, norm, 8, 48)
    assert all(torch.equal(values(a), b) for a, b in zip(found, wanted, strict=True))
    assert device.stalls.total() <= 9 + 1 < moved.count, device.stalls
