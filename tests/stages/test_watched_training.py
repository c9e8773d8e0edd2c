"""Images that a training is watched on: never trained on, never members, never test images."""

from pathlib import Path
from typing import Any

import pytest
import torch
import toy
from tiny_plan import SIZES
from torch import Tensor

from benchmark import data, registry
from benchmark.data.members.pools import Pools
from benchmark.planning import costs
from benchmark.planning.models_of_suite import Recipe
from benchmark.planning.plan import Node, Plan
from benchmark.regimes.standard import Standard
from benchmark.results.store import Store
from benchmark.running.run import run
from benchmark.trials.trial import Settings, Trial

KIND = registry.parse("data", "fashion_mnist_13k")


def node(stage: dict[str, Any], **inputs: str) -> Node:
    trial = Trial(registry.dump("stage", registry.parse("stage", stage)), 0, inputs)
    return Node(trial, trial.key, stage["method"], "", "", 0, 1.0)


def plan(pool: str, num_images: int, **regime: Any) -> Plan:
    cut = {"auxiliary": 0.1, "num_members": 120, "num_test": 30, "num_classes": 3, "duplicate_cosine": None}
    fingerprint = data.load(KIND, None).fingerprint
    pools = node({"method": "pools", "data": "fashion_mnist_13k", "fingerprint": fingerprint, "pools": cut})
    validation = {"num_images": num_images, "steps": 2}
    train = {
        "method": "train",
        "pool": pool,
        "architecture": "softmax_regression",
        "regime": {"method": "standard", "epochs": 2, "validation": validation, **regime},
    }
    return Plan("watched", "0" * 64, (pools, node(train, pools=pools.key)))


def same(images: Tensor, others: Tensor) -> bool:
    return {image.numpy().tobytes() for image in images} == {image.numpy().tobytes() for image in others}


@pytest.mark.parametrize("pool", ["members", "auxiliary"])
def test_images_that_are_watched_are_not_trained_on(tmp_path: Path, monkeypatch: Any, pool: str) -> None:
    seen: list[tuple[Tensor, Tensor, Tensor]] = []
    fit = Standard.fit

    def spied(self: Any, model: Any, images: Tensor, labels: Tensor, *more: Any, validation: Any) -> list[float]:
        seen.append((images, *validation))
        return fit(self, model, images, labels, *more, validation=validation)

    monkeypatch.setattr(Standard, "fit", spied)
    planned, store = plan(pool, 60), Store(tmp_path)
    assert run(planned, store, toy.Inline, Settings(str(tmp_path), device="cpu")).num_failed == 0
    (images, watched, labels), source = seen[0], data.load(KIND, None)
    pools = Pools(store.tensors(planned.nodes[0].key), planned.nodes[0].key)
    auxiliary = source.images[pools.auxiliary]
    names = {image.numpy().tobytes() for image in watched}
    assert labels.bincount().tolist() == [20, 20, 20] and len(names) == 60
    assert names <= {image.numpy().tobytes() for image in auxiliary}
    if pool == "members":
        assert same(images, source.images[pools.members(0)]), "all members are trained on"
    else:
        assert len(images) == len(auxiliary) - 60 and same(torch.cat([images, watched]), auxiliary)
    rows = {row["metric"]: row for row in store.rows(planned.nodes[1].key).to_pylist()}
    assert rows["num_trained_on"]["value"] == len(images)
    assert rows["validation_accuracy_epoch_2"]["n"] == 60 and "train_loss_epoch_2" in rows


@pytest.mark.parametrize(("asked", "given"), [(1, 3), (100_000, 165)])
def test_at_least_one_and_at_most_half_of_each_class(tmp_path: Path, asked: int, given: int) -> None:
    planned, store = plan("members", asked, epochs=1), Store(tmp_path)
    assert run(planned, store, toy.Inline, Settings(str(tmp_path), device="cpu")).num_failed == 0
    rows = {row["metric"]: row for row in store.rows(planned.nodes[1].key).to_pylist()}
    assert rows["validation_accuracy_epoch_1"]["n"] == given


def test_the_watching_is_in_the_cost() -> None:
    def cost(regime: dict[str, Any]) -> float:
        recipe = Recipe.parse({"architecture": "softmax_regression", "regime": {"epsilon": 0.1, **regime}})
        return costs.train(recipe, SIZES, 300)

    plain = cost({"method": "pgd_at", "epochs": 2, "steps": 3})
    watched = cost({"method": "pgd_at", "epochs": 2, "steps": 3, "validation": {"num_images": 90, "steps": 4}})
    assert watched / plain == pytest.approx(1 + 90 * (4 + 1 / 3) / (300 * 4))
