"""Machines that die, freeze and come back cost no trial and count none twice; absent nodes are asked for."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from benchmark.running.executors import Finished, ray_start
from benchmark.running.executors import ray as executor_module
from benchmark.running.executors.ray import RayExecutor, _Submitted
from benchmark.running.executors.ray_start import LOST_NODES
from benchmark.trials.trial import Settings

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """Ray's sockets need a short path. Which other Ray runs on this machine is nobody's business here."""
    folder = tempfile.mkdtemp(prefix="lost", dir="/tmp")
    yield {
        **os.environ,
        "RAY_TMPDIR": folder,
        "PYTHONPATH": f"{ROOT}:{ROOT}/tests/helpers",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    shutil.rmtree(folder, ignore_errors=True)


def told(command: list[Any], environment: dict[str, str]) -> dict[str, Any]:
    """The JSON that a program prints."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, cwd=ROOT)
    begin = done.stdout.find("{")
    assert done.returncode == 0 and begin >= 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout[begin:])
    return found


@pytest.mark.ray
@pytest.mark.slow
def test_many_trials_on_nodes_that_die(environment: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "perf.simulate", "--trials", 120, "--nodes", 3, "--seconds", 0.2]
    found = told([str(part) for part in [*command, "--losses", 1, "--every", 2]], environment)
    assert (found["done"], found["failed"], found["wrong_rows"], found["finished_twice"]) == (120, 0, 0, 0)
    assert found["nodes_lost"] == 1


@pytest.mark.ray
@pytest.mark.slow
def test_a_node_that_freezes_and_comes_back(environment: dict[str, str], tmp_path: Path) -> None:
    found = told([sys.executable, str(HERE / "freezing.py"), str(tmp_path)], environment)
    assert found["kinds"] == ["begun", "started", "retried", "started", "finished"]
    assert found["reasons"] == ["NodeDiedError"]
    assert found["detected_s"] < 8  # 3 to 5 on a quiet machine; by Ray's own settings until it is back, or minutes
    # The worker that was frozen may have finished before the second attempt begins, which then finds the result.
    assert found["attempts"] in (1, 2)
    assert (found["num_done"], found["rows"], found["problems"]) == (1, [1.0], [])


@pytest.mark.parametrize(
    ("device", "now", "later", "asks"),
    [("auto", 0, 4, True), ("auto", 2, 0, True), ("auto", 0, 0, False), ("cpu", 2, 4, False), ("cuda:1", 0, 0, True)],
)
def test_a_cluster_without_nodes_is_asked_for_gpus(
    monkeypatch: pytest.MonkeyPatch, device: str, now: int, later: int, asks: bool
) -> None:
    """now: GPUs of the nodes that are there. later: those that Ray says its autoscaler may add."""
    config = {"CPU": 8, "GPU": later} if later else None
    monkeypatch.setattr(ray._private.state.state, "get_max_resources_from_cluster_config", lambda: config)
    executor = joined()
    executor._settings, executor._resources = Settings("r", device=device), {"CPU": 0.0, "GPU": float(now)}
    assert executor._uses_gpus() is asks


@pytest.mark.parametrize(
    ("kinds", "grows"),
    [
        ({"head": {"resources": {"CPU": 0}}, "spot": {"resources": {"CPU": 4, "GPU": 1}, "max_workers": 8}}, True),
        ({"head": {"resources": {"CPU": 0}}, "spot": {"resources": {"CPU": 4, "GPU": 1}, "max_workers": 0}}, False),
        ({"head": {"resources": {"CPU": 0}}}, False),
        ({"head": None}, False),
        (None, False),
    ],
)
def test_the_file_on_the_head_says_what_may_be_added(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kinds: object, grows: bool
) -> None:
    """The older autoscaler tells drivers nothing."""
    file = tmp_path / "ray_bootstrap_config.yaml"
    monkeypatch.setattr(ray_start, "_CLUSTER_FILE", file)
    monkeypatch.setattr(ray._private.state.state, "get_max_resources_from_cluster_config", lambda: None)
    assert not ray_start.may_grow_gpus()
    file.write_text(json.dumps({"available_node_types": kinds}))
    assert ray_start.may_grow_gpus() is grows


def joined() -> RayExecutor:
    """An executor of a cluster that is not there."""
    executor = object.__new__(RayExecutor)
    executor._joined, executor._suspects, executor._held = True, [], {"cpu": 0.0, "gpu": 0.0}
    executor._nodes_lost_at = -100.0
    executor._look = lambda: None  # type: ignore[method-assign]
    return executor


def test_each_of_rays_errors_says_whose_fault_it_is() -> None:
    executor = joined()
    errors = {
        "node": [ray.exceptions.NodeDiedError("gone"), ray.exceptions.LocalRayletDiedError()],
        "memory": [ray.exceptions.OutOfMemoryError("95% used")],
        "worker": [ray.exceptions.WorkerCrashedError(), ray.exceptions.RaySystemError(ValueError("?"))],
    }
    for loss, raised in errors.items():
        for error in raised:

            def get(reference: object, error: Exception = error) -> None:
                raise error

            executor._ray = types.SimpleNamespace(get=get, exceptions=ray.exceptions)
            executor._running = {"reference": _Submitted("key", 1, 0.0)}
            report = executor._report("reference")
            assert (report.key, report.loss) == ("key", loss) and report.error


def test_a_dead_worker_is_excused_if_its_machine_goes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    executor, now = joined(), [100.0]
    monkeypatch.setattr(executor_module.time, "monotonic", lambda: now[0])
    dead, well = Finished("a", error="WorkerCrashedError", loss="worker"), Finished("b")
    assert executor._cleared([dead, well]) == [well]
    now[0] = 103.0
    assert executor._cleared([]) == []
    now[0] = executor._nodes_lost_at = 104.0
    assert [(f.key, f.loss) for f in executor._cleared([])] == [("a", "node")]
    now[0] = 120.0
    assert executor._cleared([dead]) == []
    now[0] = 127.0
    assert executor._cleared([]) == [dead], "no machine was lost: the trial's own fault"


def test_a_lost_node_is_noticed_in_under_five_seconds() -> None:
    """The health check's arithmetic: so many misses, each a period and a time-out apart."""
    period, timeout = (int(LOST_NODES[f"RAY_health_check_{name}_ms"]) / 1000 for name in ("period", "timeout"))
    assert int(LOST_NODES["RAY_health_check_failure_threshold"]) * (period + timeout) < 5
