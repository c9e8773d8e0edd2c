"""Ray gives the same rows, reports lost workers, uses its processes again, and leaves nothing behind."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import toy
from command import shadowed

import benchmark.running.executors.ray as ray_executor
from benchmark.results.store import Store
from benchmark.running.executors import Finished
from benchmark.running.executors.ray import RayExecutor, given_device
from benchmark.running.run import run
from benchmark.running.schedule import Event

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayExecutor]:
    """One Ray for all tests here: it takes seconds to start. In a folder whose modules are nobody's business."""
    home = Path.home() / ".ray"
    before = sorted(home.rglob("*")) if home.exists() else []
    folder, where = tmp_path_factory.mktemp("current"), Path.cwd()
    shadowed(folder)
    os.chdir(folder)
    try:
        executor = RayExecutor(toy.settings(Store(tmp_path_factory.mktemp("ray"))), slots=2)
    finally:
        os.chdir(where)
    with executor:
        yield executor
    assert (sorted(home.rglob("*")) if home.exists() else []) == before, "no token is left in the home folder"


@pytest.fixture
def store(executor: RayExecutor) -> Store:
    return Store(executor._settings.results)


def drain(executor: RayExecutor, count: int) -> dict[str, Finished]:
    finished: dict[str, Finished] = {}
    while len(finished) < count:
        finished |= {f.key: f for f in executor.wait(timeout=60)}
    return finished


def test_rows_equal_those_of_this_process(executor: RayExecutor, store: Store, tmp_path: Path) -> None:
    here, plan = Store(tmp_path / "here"), toy.diamonds(3)
    run(plan, here, toy.Inline, toy.settings(here))
    report = run(plan, store, lambda settings: toy.Kept(executor), toy.settings(store))
    assert (report.num_executed, report.num_failed) == (10, 0)
    assert toy.content(store) == toy.content(here)


def test_processes_are_used_again_with_the_threads_declared(executor: RayExecutor, store: Store) -> None:
    nodes = [toy.node("worker", seed=seed) for seed in range(6)]
    for node in nodes:
        executor.submit(node.trial)
    assert all(finished.ok for finished in drain(executor, 6).values())
    values = [store.rows(node.key)["value"].to_pylist() for node in nodes]
    assert {threads for threads, _ in values} == {1}
    assert len({pid for _, pid in values}) <= 2


def test_a_killed_worker_is_tried_again(executor: RayExecutor, store: Store, tmp_path: Path) -> None:
    deadly = toy.node("dietimes", folder=str(tmp_path), times=2)
    neighbor = toy.node("add", value=5.0, seconds=0.3)
    bad = toy.node("fail", until=str(tmp_path / "never"))
    events: list[Event] = []
    plan = toy.plan(deadly, neighbor, bad)
    report = run(plan, store, lambda settings: toy.Kept(executor), toy.settings(store), on_event=events.append)
    assert (report.num_executed, report.num_failed) == (2, 1)
    retried = [event.message for event in events if event.kind == "retried"]
    assert len(retried) == 2 and all("WorkerCrashedError" in message for message in retried)
    assert store.rows(deadly.key)["value"].to_pylist() == [2.0]
    assert 'raise RuntimeError("the toy broke")' in store.failures()[bad.key]["traceback"]


def test_it_takes_no_more_than_it_was_given(executor: RayExecutor) -> None:
    import ray

    resources = ray.cluster_resources()
    assert executor.slots == 2 and resources["CPU"] == 2.0
    assert resources["object_store_memory"] <= 150 * 2**20


@pytest.mark.parametrize(
    ("wanted", "given", "visible", "device", "num_gpus"),
    [
        ("auto", [], None, "cpu", 4),  # no GPU was reserved, though the machine may have one
        ("cpu", [0], None, "cpu", 4),
        ("auto", [1], None, "cuda:1", 4),
        ("auto", ["3"], "2,3", "cuda:1", 4),
        ("cuda", ["GPU-b"], "GPU-a, GPU-b", "cuda:1", 4),
        ("cuda:0", [1], None, "cuda:0", 4),
        ("cuda", [], None, "cpu", 4),
        ("auto", [0], "0", "cpu", 0),  # a node may have a GPU that its torch cannot use
        ("auto", ["GPU-a"], "GPU-a", "cpu", 0),
        ("cuda", [0], None, "cuda:0", 0),  # asked for: it fails, and says why
    ],
)
def test_the_device_is_the_one_ray_gave(
    monkeypatch: pytest.MonkeyPatch, wanted: str, given: list[Any], visible: str | None, device: str, num_gpus: int
) -> None:
    monkeypatch.setattr(ray_executor, "num_gpus", lambda: num_gpus)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert given_device(wanted, given) == device
