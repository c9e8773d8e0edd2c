"""A worker that is killed in a training: the next one goes on from the last epoch that was kept."""

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import command
import pytest
import torch
import toy

from benchmark import data, registry
from benchmark.planning.plan import Node, Plan
from benchmark.results.store import Store
from benchmark.running.executors import Executor
from benchmark.running.executors.local import LocalExecutor
from benchmark.running.run import run
from benchmark.trials.trial import Settings, Trial
from benchmark.user_files import include

REGIMES = str(command.HELPERS / "dying_regime.py")
EPOCHS = 3


def node(stage: dict[str, Any], **inputs: str) -> Node:
    trial = Trial(registry.dump("stage", registry.parse("stage", stage)), 0, inputs)
    return Node(trial, trial.key, stage["method"], "", "", 0, 1.0)


def plan(regime: dict[str, Any]) -> Plan:
    include.load(REGIMES)
    kind = registry.parse("data", "fashion_mnist_13k")
    fingerprint = data.load(kind, None).fingerprint
    cut = {"auxiliary": 0.1, "num_members": 120, "num_test": 30, "num_classes": 3, "duplicate_cosine": None}
    pools = node({"method": "pools", "data": "fashion_mnist_13k", "fingerprint": fingerprint, "pools": cut})
    architecture = {"method": "small_vgg", "width": 2}
    return Plan(
        "lost",
        "0" * 64,
        (pools, node({"method": "train", "architecture": architecture, "regime": regime}, pools=pools.key)),
    )


def one_worker(settings: Settings) -> Executor:
    return LocalExecutor(settings, slots=1)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "kills"), [("dying_standard", 1), ("dying_pgd_at", 2)])
def test_a_killed_training_goes_on_and_ends_as_if_nothing_had_been(tmp_path: Path, method: str, kills: int) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    hardened = {"epsilon": 0.1, "steps": 1, "warm_epochs": 2} if method == "dying_pgd_at" else {}
    planned = plan({"method": method, "folder": str(notes), "kills": kills, "epochs": EPOCHS, **hardened})
    store = Store(tmp_path / "results")
    settings = Settings(str(store.root), device="cpu", include=(REGIMES,), keep_every_s=0)
    report = run(planned, store, one_worker, settings)
    assert report.num_done == 2 and report.num_failed == 0
    # Each life kept the epoch after those that it found, and no epoch was kept twice.
    lost = {f"lost{life}" for life in range(kills)}
    assert {path.name for path in notes.iterdir()} == {"epoch1-0", "epoch2-1"} | lost
    assert not list((store.root / "progress").iterdir()), "the trial is its own state now"
    undisturbed = Store(tmp_path / "undisturbed")
    run(planned, undisturbed, toy.Inline, replace(settings, results=str(undisturbed.root), keep_every_s=1e9))
    assert not (undisturbed.root / "progress").exists()
    key = planned.nodes[1].key
    found, truth = store.tensors(key), undisturbed.tensors(key)
    assert found.keys() == truth.keys() and all(torch.equal(found[name], truth[name]) for name in truth)
    assert values(store, key) == values(undisturbed, key)
    assert "train_loss_epoch_3" in values(store, key)


def values(store: Store, key: str) -> dict[str, float]:
    return {row["metric"]: row["value"] for row in store.rows(key).to_pylist()}


def test_progress_is_bytes_beside_the_trials(tmp_path: Path) -> None:
    store, key = Store(tmp_path), "ab" * 32
    assert store.progress(key) is None
    for content in (b"first", b"then"):
        store.keep_progress(key, content)
        assert store.progress(key) == content
    assert store.progress("cd" * 32) is None and store.check() == [] and store.keys() == []
    store.clear_progress(key)
    store.clear_progress(key)
    assert store.progress(key) is None


@pytest.mark.parametrize(
    ("finished", "days", "kept"), [(False, 0.1, True), (False, 6, True), (False, 8, False), (True, 0.1, False)]
)
def test_what_nobody_goes_on_from_is_cleared(tmp_path: Path, finished: bool, days: float, kept: bool) -> None:
    store, key = Store(tmp_path), "ab" * 32
    store.keep_progress(key, b"state")
    (path,) = (tmp_path / "progress").iterdir()
    then = time.time() - days * 86400
    os.utime(path, (then, then))
    if finished:
        store.folder(key).mkdir(parents=True)
        (store.folder(key) / "trial.json").touch()
    store.clear_stale()
    assert (store.progress(key) is not None) == kept


def test_a_link_or_a_device_in_the_place_of_progress_is_none(tmp_path: Path) -> None:
    store, key = Store(tmp_path), "ab" * 32
    (tmp_path / "progress").mkdir()
    (tmp_path / "progress" / f"{key}.safetensors").symlink_to("/dev/zero")
    assert store.progress(key) is None
