"""Trials hold their shares: as many overlap on a GPU as fit, and the CPU's trials run beside them."""

from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import toy

import benchmark.running.executors.ray as ray_executor
from benchmark import registry
from benchmark.planning.plan import Node
from benchmark.results.store import Store
from benchmark.running.executors import Finished, Room, local, ray_start, worker_process
from benchmark.running.executors.local import LocalExecutor
from benchmark.running.executors.ray import RayExecutor
from benchmark.running.executors.worker_process import SPAWN
from benchmark.trials.trial import Settings, Trial
from benchmark.user_files import include

SLEEPING = str(Path(__file__).parents[3] / "perf" / "sleeping.py")


def span(seed: int, seconds: float, share: str = "span") -> Node:
    include.load(SLEEPING)
    stage = registry.dump("stage", registry.parse("stage", {"method": share, "seconds": seconds}))
    trial = Trial(stage, seed)
    return Node(trial, trial.key, share, "", "", seed, 1.0)


def most_at_once(store: Store, nodes: list[Node]) -> int:
    """The largest number of these trials that ran at one moment."""
    moments = []
    for node in nodes:
        begin, end = store.rows(node.key)["value"].to_pylist()
        moments += [(begin, 1), (end, -1)]
    running = [sum(step for _, step in sorted(moments)[: i + 1]) for i in range(len(moments))]
    return max(running)


@pytest.mark.ray
def test_as_many_overlap_as_the_gpu_has_room_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that is only declared: Ray reserves it all the same."""
    monkeypatch.setattr(ray_start, "gpu_ids", lambda settings: [0])
    monkeypatch.setattr(ray_executor, "preload", lambda: None)
    store = Store(tmp_path / "results")
    shares = (("span", 0.5), ("sleep", 0.0))
    settings = Settings(str(store.root), device="cpu", include=(SLEEPING,), gpus=shares)
    on_gpu, beside = [span(i, 0.3) for i in range(8)], [span(i, 0.0, "sleep") for i in range(4)]
    with RayExecutor(settings, slots=3) as executor:
        executor._on_gpus = True  # which device "cpu" denies
        todo = [*on_gpu, *beside]
        finished: list[Finished] = []
        while todo or len(finished) < 12:
            for node in [node for node in todo if executor.wants(node.trial)]:
                executor.submit(node.trial)
                todo.remove(node)
            if len(todo) > 5:  # GPU trials wait; those of the CPU were all wanted
                assert {node.stage for node in todo} == {"span"}
            finished += executor.wait(timeout=30)
        assert all(f.ok for f in finished), finished
        assert most_at_once(store, on_gpu) == 2
        alone = [span(i, 0.3) for i in range(10, 13)]
        for node in alone:
            executor.submit(node.trial, Room(whole_gpu=True))
        while len(finished) < 15:
            finished += executor.wait(timeout=30)
        assert most_at_once(store, alone) == 1


class Worker:
    """The far end of a local worker's pipe."""

    def __init__(self) -> None:
        self.near, self.end = SPAWN.Pipe()

    def given(self) -> tuple[Trial, Settings] | None:
        return self.end.recv() if self.end.poll() else None


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Worker]]:
    started: list[Worker] = []

    def start(threads: int) -> tuple[BaseProcess, worker_process.Trials]:
        started.append(Worker())
        return SPAWN.Process(), started[-1].near  # never started

    monkeypatch.setattr(worker_process, "start", start)
    monkeypatch.setattr(local, "num_gpus", lambda: 2)
    yield started
    for worker in started:
        worker.end.close()
        worker.near.close()


def test_local_workers_share_several_gpus(workers: list[Worker]) -> None:
    shares = (("toy_add", 0.5), ("toy_worker", 0.0))
    executor = LocalExecutor(Settings("r", gpus=shares), slots=8)
    for seed in range(6):
        executor.submit(toy.node("add", seed=seed).trial)
    assert not executor.wants(toy.node("add", seed=9).trial) and executor.wants(toy.node("worker").trial)
    executor.submit(toy.node("worker").trial)
    given = [(worker, found) for worker in workers if (found := worker.given())]
    devices = sorted(settings.device for _, (_, settings) in given)
    assert devices == ["cpu", "cuda:0", "cuda:0", "cuda:1", "cuda:1"]
    assert [s.share for _, (_, s) in given if s.device != "cpu"] == [0.5] * 4

    worker, (trial, settings) = next(one for one in given if one[1][1].device == "cuda:1")
    worker.end.send(Finished(trial.key))
    assert [f.key for f in executor.wait(1)] == [trial.key]
    found = worker.given()  # the process that has used this GPU already
    assert found is not None and found[1].device == "cuda:1"


def test_a_trial_that_ran_out_of_memory_waits_for_a_whole_gpu(workers: list[Worker]) -> None:
    executor = LocalExecutor(Settings("r", device="cuda:1", gpus=(("toy_add", 0.25),)), slots=4)
    executor.submit(toy.node("add").trial)
    executor.submit(toy.node("add", seed=1).trial, Room(whole_gpu=True))
    executor.submit(toy.node("add", seed=2).trial)
    given = [(worker, found) for worker in workers if (found := worker.given())]
    assert [(t.seed, s.device, s.share) for _, (t, s) in given] == [(0, "cuda:1", 0.25), (2, "cuda:1", 0.25)]
    for worker, (trial, _) in given:
        worker.end.send(Finished(trial.key))
    finished: list[Finished] = []
    while len(finished) < 2:
        finished += executor.wait(1)
    (found,) = [found for worker in workers if (found := worker.given())]
    assert (found[0].seed, found[1].share) == (1, 1.0)
