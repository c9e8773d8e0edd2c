"""The suite files that come with the project: sound, with fair budgets, and with the cost that they state."""

import re
from pathlib import Path
from typing import cast

import pytest

from benchmark import registry
from benchmark.inversion.attack import Inversion
from benchmark.models.classifier import InputInfo
from benchmark.planning.costs import ASSUMED_GPU_FLOPS, Sizes
from benchmark.planning.plan import build_plan
from benchmark.planning.suite import load_suite

SUITES = sorted((Path(__file__).parents[1] / "suites").glob("*.yaml"))
# channels, side, classes, training images, test images, as published
DATA = {
    "fashion_mnist_13k": (1, 28, 10, 11_000, 2_000),
    "fashion_mnist": (1, 28, 10, 60_000, 10_000),
    "cifar10": (3, 32, 10, 50_000, 10_000),
    "fer2013": (1, 48, 7, 28_709, 7_178),
    "lfw_subset": (1, 25, 2, 160, 40),
}


def sizes(data: str, auxiliary: float, num_members: int | None) -> Sizes:
    channels, side, classes, train, test = DATA[data]
    info = InputInfo(channels, side, side, classes, (0.5,) * channels, (0.25,) * channels)
    private = train - round(train * auxiliary)
    return Sizes(info, train - private, private, num_members or private // 2, test)


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_it_is_sound_and_its_attacks_have_equal_budgets(path: Path) -> None:
    suite, _ = load_suite(str(path))
    assert suite.name == path.stem
    assert len({cast(Inversion, attack).passes for attack in suite.inversion}) == 1
    assert len({cast(Inversion, attack).samples_per_class for attack in suite.inversion}) == 1


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_it_costs_what_it_states(path: Path) -> None:
    suite, text = load_suite(str(path))
    stated = re.search(r"^# Expected cost: about ([\d.]+) GPU-hours", text, re.MULTILINE)
    data = registry.dump("data", suite.data)["method"]
    plan = build_plan(suite, "0" * 64, sizes(data, suite.pools.auxiliary, suite.pools.num_members))
    hours = sum({node.key: node.cost for node in plan.nodes}.values()) / ASSUMED_GPU_FLOPS / 3600
    assert stated is not None
    assert float(stated[1]) == pytest.approx(hours, rel=0.1)
