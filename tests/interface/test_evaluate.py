"""A model in memory gets the numbers that `bench run` gives its checkpoint; equal work is done once."""

import copy
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import command
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from torch import Tensor, nn

import benchmark
from benchmark import data, registry
from benchmark.interface.quick_defaults import QUICK
from benchmark.interface.report import Report
from benchmark.models.classifier import Architecture, InputInfo
from benchmark.results.store import Store
from benchmark.spec import SpecError

TINY = str(command.TINY)
FASHION = data.load(registry.parse("data", "fashion_mnist_13k"), None)
MADE = ["wall_s", "created_utc", "git_commit", "gpu_hours"]
"""Columns that say when and where."""


class Linear(nn.Module):
    """Softmax regression as a user may write it."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Linear(784, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.logits(images.flatten(1))


def planned(results: Path, suite: str) -> Any:
    return next(plan for plan in Store(results).plans() if plan["suite"] == suite)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "interface_cache"))


@pytest.fixture(scope="module")
def weights(tiny_run: command.Run) -> dict[str, Tensor]:
    """Of the tiny run's softmax regression."""
    store = Store(tiny_run.results)
    nodes = planned(tiny_run.results, "tiny")["nodes"]
    return store.tensors(next(n["key"] for n in nodes if (n["stage"], n["model"]) == ("train", "softmax")))


@pytest.fixture
def network(weights: dict[str, Tensor]) -> nn.Module:
    _, height, width = FASHION.images.shape[1:]
    architecture = registry.parse("architecture", "softmax_regression")
    assert isinstance(architecture, Architecture)
    model = architecture.build(InputInfo(1, height, width, 3, FASHION.mean, FASHION.std))
    model.load(weights)
    return model.eval()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, tiny_run: command.Run) -> Path:
    """Judges and controls are there."""
    folder = tmp_path_factory.mktemp("evaluated") / "results"
    shutil.copytree(tiny_run.results, folder)
    return folder


def evaluate(model: nn.Module, results: Path, **arguments: Any) -> Report:
    usual = {"suite": TINY, "architecture": "softmax_regression"}
    return benchmark.evaluate(model, results=results, **{**usual, **arguments})


@pytest.mark.slow
def test_the_table_is_that_of_the_command(
    network: nn.Module, results: Path, tiny_run: command.Run, tmp_path: Path
) -> None:
    declared = {"members": {"first": 2000}, "adversary": {"norm": "l2", "epsilon": 0.1}}
    report = evaluate(network, results, name="given", **declared)
    assert report.num_run > 5 and report.failures.empty
    about = planned(results, "tiny: given")["about"]
    suite = tmp_path / "suite.yaml"
    suite.write_text(about["yaml"])
    shutil.copytree(tiny_run.results, tmp_path / "results")
    done = command.call(
        "run", suite, "--executor", "local", "--results", tmp_path / "results", "--site", tmp_path / "site"
    )
    assert done.exit_code == 0 and f"{report.num_run} trials run" in done.stdout, done.output
    board = pq.read_table(tmp_path / "site" / "leaderboard.parquet").to_pandas()
    theirs = board[board["suite"] == "tiny: given"].reset_index(drop=True)
    pd.testing.assert_frame_equal(report.table.drop(columns=MADE), theirs.drop(columns=MADE), check_exact=True)
    assert command.measured(tmp_path / "results") == command.measured(results)
    page = report.page(tmp_path / "page")
    assert page.is_file() and "given" in (tmp_path / "page" / "leaderboard.csv").read_text()


def test_a_second_call_runs_nothing_and_new_weights_run_only_what_hangs_on_them(
    network: nn.Module, results: Path
) -> None:
    evaluate(network, results, name="again")
    assert evaluate(network, results, name="again").num_run == 0
    before = {n["key"] for n in planned(results, "tiny: again")["nodes"]}
    with torch.no_grad():
        network.head.weight.mul_(1.01)
    changed = evaluate(network, results, name="again")
    plan = planned(results, "tiny: again")["nodes"]
    new = {(n["stage"], n["model"]) for n in plan if n["key"] not in before}
    assert changed.num_run == sum(n["key"] not in before for n in plan) > 0
    assert {model for _, model in new} == {"again"}
    assert {"pools", "train", "declare_members", "embed"}.isdisjoint(stage for stage, _ in new)


def test_a_network_of_the_users_own_is_measured_as_it_is(network: nn.Module, results: Path) -> None:
    """The same function in other code: what draws no numbers comes out the same."""
    own = Linear().eval()
    with torch.no_grad():
        weight, std = network.head.weight, FASHION.std[0]
        own.logits.weight.copy_(weight)
        own.logits.bias.copy_(network.head.bias)
    kept = copy.deepcopy(own.state_dict())
    report = evaluate(own, results, name="own", architecture=None, mean=FASHION.mean, std=std)
    there = evaluate(network, results, name="theirs")
    for name in ("clean_accuracy", "clean_accuracy_low", "num_members", "eval_epsilon"):
        assert report.table[name][0] == there.table[name][0]
    assert report.table["membership_auc"][0] == pytest.approx(there.table["membership_auc"][0], abs=1e-6)
    assert report.table["architecture"][0] == "in_memory"
    assert all(torch.equal(own.state_dict()[name], kept[name]) for name in kept) and own.logits.weight.requires_grad
    assert evaluate(own, results, name="own", architecture=None, mean=FASHION.mean, std=std).num_run == 0


@pytest.fixture(scope="module")
def arrays() -> Iterator[tuple[Tensor, ...]]:
    """Three classes; floats, as loaders give them."""
    found = []
    parts = (FASHION.images, FASHION.labels, 900), (FASHION.test_images, FASHION.test_labels, 150)
    for images, labels, most in parts:
        some = (labels < 3).nonzero().squeeze(1)[:most]
        found += [images[some] / 255, labels[some]]
    yield tuple(found)


def test_arrays_and_attacks_of_ones_own(arrays: tuple[Tensor, ...], tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Linear()
    images, labels, test_images, test_labels = arrays
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images[:400]), labels[:400]).backward()
        optimizer.step()
    right = (model.eval()(test_images).argmax(1) == test_labels).double().mean().item()
    judges = yaml.safe_load(command.TINY.read_text())["evaluators"]
    settings: dict[str, Any] = {
        "evaluators": judges,
        "pools": {"auxiliary": 0.2, "num_members": 150},
        "evaluation": {"num_images": 40, "num_members": 30, "neighbours": 5},
        "evasions": [{"method": "fgsm", "norm": "linf", "epsilon": "8/255"}],
        "inversions": [{"method": "gradient", "steps": 20, "samples_per_class": 2}],
        "clean_accuracy": right,
    }
    report = benchmark.evaluate(
        model, data=arrays, members=np.arange(400), results=tmp_path / "results", device="cpu", **settings
    )
    row = report.table.iloc[0]
    assert row["clean_accuracy"] == pytest.approx(right, abs=1e-12)
    assert (row["num_members"], row["eval_norm"], row["suite"]) == (400, "linf", "evaluate: model")
    assert row["robust_accuracy_low"] <= row["robust_accuracy"] <= row["robust_accuracy_high"]
    html = report._repr_html_()
    assert "robust_accuracy" in html and "data:image/png;base64," in html and "<script" not in html
    settings["clean_accuracy"] = 0.31
    with pytest.raises(ValueError, match=r"^model: .*clean.*\b0\.31") as refused:
        benchmark.evaluate(model, data=arrays, results=tmp_path / "results", device="cpu", **settings)
    assert "\n" not in str(refused.value)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no data": ({"suite": None}, r"^data: not given; allowed: fashion_mnist_13k"),
    "two arrays": ({"data": (FASHION.images, FASHION.labels)}, r"^data: 2 arrays; allowed: \(images, labels, test_im"),
    "unknown argument": ({"evasion": ["pgd"]}, r"^evaluate has no argument 'evasion' \(did you mean 'evasions'"),
    "attacks as a text": ({"evasions": "pgd"}, r"^evasions: 'pgd' is not allowed; allowed: a list"),
    "attack without epsilon": ({"evasions": ["pgd"]}, r"^evasion\[0\]\.\w+: this key is required"),
    "unknown architecture": ({"architecture": "soft"}, r"^models\[0\]\.architecture: unknown architecture 'soft'"),
    "another's weights": ({"architecture": "small_vgg"}, r"^models\[0\]\.checkpoint\.path: .*does not fit"),
    "members": ({"members": [0.5, 1.0]}, r"^members: float64 of shape \(2,\); allowed: 'all'"),
    "members outside": ({"members": [0, 99_999_999]}, r"^models\[0\]\.checkpoint\.members: "),
    "mean alone": ({"mean": 0.5}, r"^mean: not allowed alone"),
    "executor": ({"executor": "thread"}, r"^executor: 'thread' is none.*allowed: in_process, local, ray"),
    "other process": ({"executor": "local", "architecture": None}, r"^executor: 'local' cannot have a network"),
    "name": ({"name": "memoriser"}, r"^models\[0\]\.name: 'memoriser' is the name of a control"),
    "suite": ({"suite": "nowhere.yaml"}, r"^no suite file 'nowhere.yaml'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_refused_in_a_line(case: str, network: nn.Module, tmp_path: Path) -> None:
    arguments, said = WRONG[case]
    with pytest.raises(SpecError, match=said) as refused:
        evaluate(network, tmp_path / "results", **arguments)
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.rglob("trial.json"))


def test_models_that_cannot_be_measured_are_refused_in_a_line(network: nn.Module, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        scripted = torch.jit.script(Linear().eval())
    with pytest.raises(SpecError, match="is in train mode"):
        evaluate(network.train(), tmp_path)
    with pytest.raises(SpecError, match="has neither a global pool nor a linear layer"):
        evaluate(nn.Sequential(nn.Flatten(), nn.Softmax(1)).eval(), tmp_path, architecture=None)
    with pytest.raises(SpecError, match="TorchScript"):
        evaluate(scripted, tmp_path, architecture=None)


def test_the_defaults_are_those_of_the_quick_suite() -> None:
    quick = yaml.safe_load((command.ROOT / "suites" / "quick.yaml").read_text())
    del quick["pools"]["num_members"]  # of its 11,000 images
    assert {name: quick[name] for name in QUICK} == QUICK
