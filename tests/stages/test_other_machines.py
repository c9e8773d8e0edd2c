"""Data set, checkpoint and included file reach machines that have none of them, once each."""

import os
import pickle
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

from benchmark import data, registry
from benchmark.data import cache
from benchmark.models.classifier import InputInfo
from benchmark.models.softmax_regression import SoftmaxRegression
from benchmark.planning.check import Prepared, prepare
from benchmark.results.store import Store
from benchmark.running.executors.worker import run_trial
from benchmark.running.send_data import send
from benchmark.trials.trial import Settings
from benchmark.user_files import include

MINE = """
from benchmark.regimes.standard import Standard
from benchmark.registry import register

class Patient(Standard):
    SOURCE = "ours"
    epochs: int = 2

register("regime", "patient", Patient)
"""
SUITE: dict[str, Any] = {
    "name": "elsewhere",
    "data": {"method": "imagefolder", "path": "bars", "size": 8, "mode": "L"},
    "pools": {"auxiliary": 0.25, "duplicate_cosine": None},
    "models": [
        {"name": "patient", "architecture": "softmax_regression", "regime": {"method": "patient", "lr": 0.02}},
        {"name": "given", "architecture": "softmax_regression", "checkpoint": {"path": "given.safetensors"}},
    ],
    "evaluators": {
        role: {"architecture": "softmax_regression", "regime": {"method": "standard", "epochs": 1}}
        for role in ("standard", "robust")
    },
    "evasion": [{"method": "fgsm", "epsilon": 0.1}],
    "inversion": [{"method": "gradient", "steps": 12, "samples_per_class": 2}],
    "membership": ["loss_threshold"],
}
KEPT = ("pools", "declare_members", "import", "train", "predict")


def bars(folder: Path, num: int = 40) -> None:
    """Three classes of noisy pictures with a bright band each."""
    draw = np.random.default_rng(0)
    for label in range(3):
        (folder / f"class{label}").mkdir(parents=True)
        for i in range(num):
            pixels = draw.integers(0, 60, (8, 8), dtype=np.uint8)
            pixels[2 * label : 2 * label + 2] += 150
            Image.fromarray(pixels).save(folder / f"class{label}" / f"{i}.png")


def checkpoint(path: Path) -> None:
    """A model that says which band is bright."""
    model = SoftmaxRegression().build(InputInfo(1, 8, 8, 3, (0.25,), (0.25,)))
    weights = {name: torch.zeros_like(tensor) for name, tensor in model.state_dict().items()}
    weights |= {"mean": model.mean, "std": model.std}
    for label in range(3):
        weights["head.weight"].view(3, 8, 8)[label, 2 * label : 2 * label + 2] = 1
    save_file(weights, path)


@dataclass
class Driver:
    home: Path
    prepared: Prepared
    store: Store
    settings: Settings
    checkpoint: str


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registered: None) -> Driver:
    """A suite that was planned and sent; then every file of it is gone."""
    home = tmp_path / "driver"
    bars(home / "data" / "bars")
    checkpoint(home / "given.safetensors")
    (home / "mine.py").write_text(MINE)
    (home / "suite.yaml").write_text(yaml.safe_dump(SUITE))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.delenv("BENCH_DATA", raising=False)
    root = str(home / "data")
    prepared = prepare(str(home / "suite.yaml"), root, [str(home / "mine.py")])
    store = Store(tmp_path / "results")
    store.writable()
    decoded = send(store, *prepared.data(root), prepared.files, joined=True)
    assert send(store, *prepared.data(root), prepared.files, joined=True) == decoded
    sources = (include.source(str(home / "mine.py")),)
    settings = Settings(str(store.root), root, "cpu", include=sources, files=prepared.files, decoded=decoded)
    data.load.cache_clear()
    shutil.copytree(home / "data", tmp_path / "own")
    shutil.rmtree(home)
    ((sha256, _),) = prepared.files
    return Driver(home, prepared, store, settings, sha256)


def work(place: Path, driver: Driver, own: Path | None, workers: int = 2) -> tuple[Store, Counter[str]]:
    """The trials on a machine with a home of its own, twice at the same time; its results, and what it noted.

    own: a root with the data set in it, if it has one.
    """
    (place / "home").mkdir(parents=True)
    store = Store(place / "results")
    shutil.copytree(driver.store.root, store.root)
    trials = [node.trial for node in driver.prepared.plan.nodes if node.stage in KEPT]
    (place / "given").write_bytes(pickle.dumps((trials, replace(driver.settings, results=str(store.root)))))
    repository = Path(__file__).parents[2]
    env = {**os.environ, "HOME": str(place / "home"), "XDG_CACHE_HOME": str(place / "cache"), "OMP_NUM_THREADS": "1"}
    env |= {"BENCH_DATA": str(own or ""), "PYTHONPATH": str(repository)}
    command = [sys.executable, repository / "tests" / "helpers" / "machine.py", place / "given", place / "log"]
    running = [
        subprocess.Popen(command, cwd=place / "home", env=env, stderr=subprocess.PIPE, text=True)
        for _ in range(workers)
    ]
    for process in running:
        _, said = process.communicate(timeout=240)
        assert process.returncode == 0, said
    return store, Counter((place / "log").read_text().split())


def content(store: Store) -> dict[str, Any]:
    return {key: {name: t.tolist() for name, t in store.tensors(key).items()} for key in store.keys()}


@pytest.mark.slow
def test_each_machine_gets_each_file_once(driver: Driver, tmp_path: Path) -> None:
    without, noted = work(tmp_path / "without", driver, own=None)
    assert noted == {driver.settings.decoded: 1, driver.checkpoint: 1}
    with_own, noted = work(tmp_path / "with", driver, own=tmp_path / "own", workers=1)
    assert noted == {"decoded": 1, driver.checkpoint: 1}
    results = content(without)
    assert results == content(with_own) and len(results) > 8
    kept = {path.parent.name: path for path in (tmp_path / "without" / "cache").rglob("*") if path.is_file()}
    assert {"decoded", "files"} <= kept.keys()


def test_what_was_not_sent_is_missed_in_one_line(driver: Driver) -> None:
    shutil.rmtree(driver.store.root / "files")
    for node in driver.prepared.plan.nodes:
        if node.stage == "pools":
            finished = run_trial(node.trial, driver.settings)
            assert "is not there; looked at" in finished.error.splitlines()[-1]
            assert "nor does it come from the results" in finished.error.splitlines()[-1]


def test_other_content_is_not_taken_for_what_was_sent(
    driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine's own copy that differs gives way; a file in the store or the cache that was changed is refused."""
    node = driver.prepared.plan.nodes[0]
    spec, fingerprint = registry.parse("data", node.trial.stage["data"]), node.trial.stage["fingerprint"]
    assert isinstance(spec, data.Dataset)
    Image.new("L", (8, 8)).save(tmp_path / "own" / "bars" / "class1" / "7.png")
    monkeypatch.setattr(data, "_HELD", {})
    root, decoded = str(tmp_path / "own"), driver.settings.decoded
    images = data.planned(spec, root, fingerprint, decoded, driver.store.get_blob)
    assert images.fingerprint == fingerprint and images.class_names == ("class0", "class1", "class2")
    path = cache.place(spec, fingerprint)
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.unlink()
    path.write_bytes(damaged)
    data._HELD.clear()
    assert data.planned(spec, root, fingerprint, decoded, driver.store.get_blob).fingerprint == fingerprint
    with pytest.raises(ValueError, match="copy has fingerprint"):
        data._HELD.clear()
        path.unlink()
        data.planned(spec, root, fingerprint)
    for kept in (driver.store.root / "files").rglob(decoded):
        kept.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"copy has fingerprint .* nor does it come from the results \(.*sha256"):
        data.planned(spec, root, fingerprint, decoded, driver.store.get_blob)
    assert not path.exists()
