"""Seconds, floating-point operations, and what an attack achieved."""

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode


@dataclass
class Timings:
    """Of one contender, a number a round. cpu: processor seconds, which other programs disturb less."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.wall)


def interleaved(contenders: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Timings]:
    """A B C D A B C D ...: what slows the machine for a while slows all of them. The first round is not kept."""
    found = {name: Timings() for name in contenders}
    for number in range(rounds + 1):
        for name, work in contenders.items():
            gc.collect()
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            if number:
                found[name].wall.append(wall)
                found[name].cpu.append(cpu)
    return found


def ratio(slower: list[list[float]], faster: list[float]) -> float:
    """Median over the rounds of: the fastest of `slower` in that round, over `faster` in that round."""
    return statistics.median(min(others) / own for *others, own in zip(*slower, faster, strict=True))


def judged(model: nn.Module, clean: Tensor, found: Tensor, labels: Tensor, norm: str, epsilon: float) -> float:
    """Robust accuracy: the share of images that are right clean and attacked. Raises if one left its ball or [0, 1]."""
    moved = (found - clean).flatten(1).double()
    size = moved.abs().amax(1) if norm == "linf" else moved.norm(dim=1)
    if size.max() > epsilon + 1e-5 or found.min() < 0 or found.max() > 1:
        raise ValueError(f"an attack left its ball of {epsilon} or [0, 1]: size {size.max()}")
    with torch.no_grad():
        right = (model(clean).argmax(1) == labels) & (model(found).argmax(1) == labels)
    return right.double().mean().item()


def matmul_ceiling() -> float:
    """GFLOP/s of the best of 20 products of 2048 x 2048 float32 matrices."""
    a, b = torch.rand(2048, 2048), torch.rand(2048, 2048)
    best = float("inf")
    for _ in range(20):
        start = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - start)
    return 2 * 2048**3 / best / 1e9


def flops(model: nn.Module, image: Tensor) -> tuple[float, float]:
    """Of one image (1, C, H, W), the weights frozen: the forward pass; forward and backward to the input."""
    x = image.clone().requires_grad_(True)
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        model(x)
    with FlopCounterMode(display=False) as both:
        functional.cross_entropy(model(x), torch.zeros(1, dtype=torch.int64)).backward()
    return float(forward.get_total_flops()), float(both.get_total_flops())


class PassCounter:
    """Counts the images that go through a model: in passes with a gradient, and in passes without."""

    def __init__(self, model: nn.Module) -> None:
        self.with_gradient = self.without = 0
        self._hook = model.register_forward_pre_hook(self._note)

    def _note(self, module: nn.Module, given: tuple[Tensor]) -> None:
        if torch.is_grad_enabled():
            self.with_gradient += len(given[0])
        else:
            self.without += len(given[0])

    def close(self) -> None:
        self._hook.remove()
