"""Worker processes of this machine: they share the work, may be killed, and never outlive the driver."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import toy
from command import shadowed

from benchmark.machine.devices import resolved
from benchmark.results.store import Store
from benchmark.running.executors import Finished, local, worker_process
from benchmark.running.executors.local import LocalExecutor, gpu_ids, num_slots
from benchmark.running.run import run
from benchmark.running.schedule import Event
from benchmark.trials.trial import Settings


def drain(executor: LocalExecutor, count: int) -> dict[str, Finished]:
    finished: dict[str, Finished] = {}
    while len(finished) < count:
        finished |= {f.key: f for f in executor.wait(timeout=60)}
    return finished


@pytest.mark.slow
def test_workers_give_the_rows_of_this_process_and_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One pool for all of it, since each worker loads torch. In a folder whose modules are nobody's business."""
    (tmp_path / "current").mkdir()
    shadowed(tmp_path / "current")
    monkeypatch.chdir(tmp_path / "current")
    here, there = Store(tmp_path / "here"), Store(tmp_path / "there")
    plan = toy.diamonds(3)
    run(plan, here, toy.Inline, toy.settings(here))
    (tmp_path / "deaths").mkdir()
    pids, threads = [], []
    with LocalExecutor(toy.settings(there), slots=2) as executor:
        report = run(plan, there, lambda settings: toy.Kept(executor), toy.settings(there))
        assert report.num_executed == 10 and toy.content(there) == toy.content(here)

        workers = [toy.node("worker", seed=seed) for seed in range(6)]
        for node in workers:
            executor.submit(node.trial)
        assert all(f.ok for f in drain(executor, 6).values())
        for node in workers:
            values = there.rows(node.key)["value"].to_pylist()
            threads.append(values[0])
            pids.append(int(values[1]))
        assert set(threads) == {1} and len(set(pids)) <= 2 and os.getpid() not in pids

        # A killed worker costs its own trial, not its neighbor's, and is replaced.
        deadly = toy.node("dietimes", folder=str(tmp_path / "deaths"), times=1)
        neighbor = toy.node("add", value=5.0, seconds=0.5)
        events: list[Event] = []
        plan = toy.plan(deadly, neighbor)
        report = run(plan, there, lambda settings: toy.Kept(executor), toy.settings(there), on_event=events.append)
        assert report.num_executed == 2
        ((key, message),) = [(e.node.key, e.message) for e in events if e.kind == "retried" and e.node]
        assert key == deadly.key and "was killed by SIGKILL (out of memory?)" in message

        # One that leaves by itself would do so again.
        (tmp_path / "exits").mkdir()
        leaving = toy.node("leave", how="os._exit", folder=str(tmp_path / "exits"))
        report = run(toy.plan(leaving), there, lambda settings: toy.Kept(executor), toy.settings(there))
        assert report.num_failed == 1 and len(list((tmp_path / "exits").iterdir())) == 1
        last = there.failures()[leaving.key]["traceback"].splitlines()[-1]
        assert last.startswith("toy_leave model 0 0 ended its process: worker process ")
        assert last.endswith(" left with exit code 3")
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_slots_follow_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(6)))
    assert num_slots(Settings("r", threads=1)) == 6
    assert num_slots(Settings("r", threads=4)) == 1
    assert num_slots(Settings("r", threads=12)) == 1
    monkeypatch.setattr(local, "num_gpus", lambda: 2)
    assert gpu_ids(Settings("r")) == gpu_ids(Settings("r", device="cuda")) == [0, 1]
    assert LocalExecutor(Settings("r")).slots == 6  # of which the GPUs' shares decide how many use one
    assert LocalExecutor(Settings("r", device="cpu")).slots == 6
    monkeypatch.setattr(local, "num_gpus", lambda: 0)
    assert gpu_ids(Settings("r")) == []
    assert LocalExecutor(Settings("r", threads=2)).slots == 3


@pytest.mark.parametrize("visible", ["0", "0,1", "NoDevFiles", "GPU-abc", "-1", ""])
def test_a_gpu_that_torch_cannot_use_is_none(monkeypatch: pytest.MonkeyPatch, visible: str) -> None:
    """The variable names one, as NVML does and /dev: the driver does not answer."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert gpu_ids(Settings("r")) == [] and resolved("auto") == "cpu" and resolved("cuda:0") == "cuda:0"
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert gpu_ids(Settings("r")) == [0] and resolved("auto") == "cuda"


def test_the_driver_keeps_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a worker starts it has another, in which no module of the current folder is taken."""
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    before = dict(os.environ)
    with worker_process._environment(1) as usual:
        assert os.environ["PYTHONSAFEPATH"] and os.environ["OMP_NUM_THREADS"] == "1" and usual == before
    assert dict(os.environ) == before
    monkeypatch.setenv("PYTHONSAFEPATH", "mine")
    with worker_process._environment(1):
        assert os.environ["PYTHONSAFEPATH"] == "mine"
    assert os.environ["PYTHONSAFEPATH"] == "mine"


def test_neither_ray_nor_torch_is_loaded_for_a_local_run() -> None:
    code = "import benchmark.running.run, benchmark.running.executors.local, sys; "
    code += "print({'ray', 'torch', 'pyarrow'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
