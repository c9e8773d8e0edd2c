"""A worker keeps to its share of a GPU, and says so when that is too small. CUDA's calls are stand-ins here."""

from pathlib import Path
from typing import Any

import pytest
import torch
import toy

from benchmark.planning.plan import Node
from benchmark.results.store import Store
from benchmark.running.executors.worker import limit_memory, out_of_gpu_memory, run_trial


@pytest.mark.parametrize(
    ("error", "short"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."), True),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might ..."), True),  # no room for a context
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (MemoryError(), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_means_that_the_gpu_is_full(error: Exception, short: bool) -> None:
    assert out_of_gpu_memory(error) is short


@pytest.mark.parametrize(
    ("device", "share", "told"),
    [("cpu", 0.5, []), ("cuda:1", 0.25, [(0.25, 1)]), ("cuda", 0.5, [(0.5, 3)]), ("cuda:0", 2.0, [(1.0, 0)])],
)
def test_memory_is_limited_to_the_share(
    monkeypatch: pytest.MonkeyPatch, device: str, share: float, told: list[tuple[float, int]]
) -> None:
    found: list[tuple[float, int]] = []
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda share, index: found.append((share, index))
    )
    limit_memory(device, share)
    assert found == told


def test_ray_may_end_its_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is told to go has not failed: its trial runs elsewhere."""
    told: dict[str, Any] = {"__name__": "ray._private.worker"}
    exec("def sigterm_handler(*_):\n    raise SystemExit(1)", told)
    monkeypatch.setattr("benchmark.running.executors.worker.execute", told["sigterm_handler"])
    with pytest.raises(SystemExit):
        run_trial(toy.node("add").trial, toy.settings(Store(tmp_path)))


def _full(node: Node, store: Store) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory.")


def test_a_trial_that_does_not_fit_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    settings, node = toy.settings(store), toy.node("add")
    assert run_trial(node.trial, settings).loss == ""
    monkeypatch.setattr("benchmark.running.executors.worker.execute", lambda trial, store, settings: _full(node, store))
    finished = run_trial(node.trial, settings)
    assert finished.loss == "gpu_memory" and "OutOfMemoryError: CUDA out of memory." in finished.error
