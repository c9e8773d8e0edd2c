"""Four small trainings side by side on one device against one after the other: what shares of a GPU are worth."""

import multiprocessing
import time
from collections.abc import Iterator
from typing import Any

import torch

from benchmark import registry
from benchmark.regimes.pgd_at import PGDAdversarialTraining
from perf.gpu.speed import INFO

_SPAWN = multiprocessing.get_context("spawn")


def _train(device: str, num: int, barrier: Any, results: Any) -> None:
    """Two trainings, of which the first loads kernels and compiles; the second is timed from a common start."""
    torch.set_num_threads(1)
    images = torch.randint(0, 256, (num, 3, 32, 32), dtype=torch.uint8).to(device)
    labels = torch.randint(0, 10, (num,)).to(device)
    regime = PGDAdversarialTraining(epsilon=8 / 255, steps=3, epochs=2)
    for timed in (False, True):
        model = registry.parse("architecture", "small_resnet").build(INFO)  # type: ignore[attr-defined]
        model.initialise(torch.Generator().manual_seed(0))
        if timed:
            barrier.wait()
        begin = time.perf_counter()
        regime.fit(model.to(device), images, labels, torch.Generator().manual_seed(1))
        if timed:
            results.put(time.perf_counter() - begin)


def _side_by_side(count: int, device: str, num: int) -> float:
    """Seconds of the slowest."""
    barrier, results = _SPAWN.Barrier(count), _SPAWN.Queue()
    processes = [_SPAWN.Process(target=_train, args=(device, num, barrier, results)) for _ in range(count)]
    for process in processes:
        process.start()
    slowest = max(float(results.get(timeout=120)) for _ in processes)
    for process in processes:
        process.join()
    return slowest


def measure(device: str, tiny: bool) -> Iterator[dict[str, Any]]:
    num = 64 if tiny else 4096
    alone = _side_by_side(1, device, num)
    yield {"what": "one training alone", "seconds": alone, "n": num}
    together = _side_by_side(4, device, num)
    yield {"what": "four side by side, the slowest", "seconds": together, "n": num}
    yield {"what": "four one after the other over four side by side", "times": 4 * alone / together, "n": num}
