"""Machines that die, freeze and come back cost no trial and count none twice; absent nodes are asked for."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml

from benchmark.executors import Finished
from benchmark.executors import ray as executor_module
from benchmark.executors.ray import LOST_NODES, RayExecutor, _Submitted

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """Ray's sockets need a short path. Which other Ray runs on this machine is nobody's business here."""
    folder = tempfile.mkdtemp(prefix="lost", dir="/tmp")
    yield {**os.environ, "RAY_TMPDIR": folder, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "RAY_USAGE_STATS_ENABLED": "0"}
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
    command = [sys.executable, "-m", "perf.simulate", "--trials", 200, "--nodes", 4, "--seconds", 0.2]
    found = told([str(part) for part in [*command, "--losses", 1, "--every", 2]], environment)
    assert (found["done"], found["failed"], found["wrong_rows"], found["finished_twice"]) == (200, 0, 0, 0)
    assert found["nodes_lost"] == 1
    assert found["driver_cpu_ms_per_trial"] < 60  # a fixed part of a second for 200 trials, on a busy machine


@pytest.mark.ray
@pytest.mark.slow
def test_a_node_that_freezes_and_comes_back(environment: dict[str, str], tmp_path: Path) -> None:
    found = told([sys.executable, str(HERE / "freezing.py"), str(tmp_path)], environment)
    assert found["kinds"] == ["begun", "started", "retried", "started", "finished"]
    assert found["reasons"] == ["NodeDiedError"]
    assert found["detected_s"] < 8  # 3 to 5 on a quiet machine; by Ray's own settings until it is back, or minutes
    assert (found["num_done"], found["attempts"], found["rows"], found["problems"]) == (1, 2, [1.0], [])


FROM_ZERO = """
import json, sys
from benchmark import registry
from benchmark.executors.ray import RayExecutor
from benchmark.trial import Settings, Trial
import telling
registry.include(telling.__file__)
asks = {}
for device in ("auto", "cpu", "cuda"):
    executor = RayExecutor(Settings("r", device=device), address=sys.argv[1])
    asks[device] = executor._on_gpus
settings = Settings(sys.argv[2], device="cpu", include=(telling.__file__,), gpus=(("telling", 1.0),))
executor = RayExecutor(settings, address=sys.argv[1])
executor._on_gpus = True  # the GPU of this cluster's nodes is only declared
stage = registry.dump("stage", registry.parse("stage", {"method": "telling", "folder": sys.argv[3], "seconds": 0.1}))
trial = Trial(stage, 0)
wanted = executor.wants(trial)
executor.submit(trial)
finished = []
while not finished:
    finished = executor.wait(5)
print(json.dumps({"asks": asks, "wanted": wanted, "errors": [f.error for f in finished]}))
"""


@pytest.fixture
def from_zero(environment: dict[str, str], tmp_path: Path) -> Iterator[str]:
    """A head without resources, whose autoscaler can add nodes with a GPU that is only declared."""
    example = Path(ray.__file__).parent / "autoscaler/_private/fake_multi_node/example.yaml"
    config = yaml.safe_load(example.read_text())
    config["available_node_types"] = {
        "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "gpu": {"resources": {"CPU": 1, "GPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 1},
    }
    (tmp_path / "cluster.yaml").write_text(yaml.safe_dump(config))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", f"--port={port}"]
    command += ["--num-cpus=0", "--num-gpus=0", "--include-dashboard=false", "--object-store-memory=100000000"]
    command += [f"--autoscaling-config={tmp_path / 'cluster.yaml'}"]
    environment |= {"RAY_AUTH_MODE": "disabled", "AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_FAKE_CLUSTER": "1"}
    head = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert head.stdout is not None
    with head.stdout as output:
        said = next((line for line in output if "Local node IP" in line), "")
        address = f"{said.rpartition(':')[2].strip()}:{port}"
        assert next((line for line in output if "Ray runtime started" in line), ""), "Ray did not start"
        yield address
        head.send_signal(signal.SIGTERM)
        output.read()
    head.wait(20)


@pytest.mark.ray
@pytest.mark.slow
def test_a_cluster_without_nodes_is_asked_for_gpus(from_zero: str, environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "pids").mkdir()
    places = [from_zero, str(tmp_path / "results"), str(tmp_path / "pids")]
    environment["PYTHONPATH"] += f":{HERE}"
    found = told([sys.executable, "-c", FROM_ZERO, *places], environment)
    assert found == {"asks": {"auto": True, "cpu": False, "cuda": True}, "wanted": True, "errors": [""]}


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
