"""`python -m perf.adversarial_speed`: `pgd_at` on ResNet-18 at 32 x 32 against a textbook's loop, images a second.

Both train the same network, from the same weights, on the same made-up images, in one process that keeps freed memory,
with PGD-10 against linf 8/255; the textbook's network is in PyTorch's default layout and `loss.backward()` finds the
attack's gradients. What the images show changes no time: every image takes every step. No compiler, no bfloat16.
"""

import argparse
import copy
import os
import statistics

import torch
from torch import nn

from benchmark.machine.freed_memory import keep_freed_memory
from benchmark.models.classifier import InputInfo
from benchmark.models.resnet import ResNet18
from benchmark.regimes.pgd_at import PGDAdversarialTraining
from perf import measure, plain
from perf.training_speed import KINDS, profiled

INFO = InputInfo(3, 32, 32, 10, (0.49, 0.48, 0.45), (0.25, 0.24, 0.26))


def gigaflops(model: nn.Module, num_images: int, steps: int) -> float:
    """Of one epoch, were every convolution computed directly: attack steps to the input, then one to the weights."""
    forward, to_input = measure.flops(model, torch.rand(1, 3, 32, 32))
    return num_images * (steps * to_input + to_input + forward) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=128, help="a training (default %(default)s)")
    parser.add_argument("--batch", type=int, default=64, help="(default %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="(default %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="times each contender runs (default %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (options.images, 3, 32, 32), dtype=torch.uint8, generator=draw)
    labels = torch.randint(0, 10, (options.images,), generator=draw)
    regime = PGDAdversarialTraining(epsilon=8 / 255, steps=10, epochs=1, warm_epochs=1, batch_size=options.batch)
    fresh = ResNet18().build(INFO)
    fresh.initialise(torch.Generator().manual_seed(0))

    def ours() -> None:
        regime.fit(copy.deepcopy(fresh), images, labels, torch.Generator().manual_seed(1))

    def textbook(layout: torch.memory_format) -> None:
        plain.adversarial_training(
            copy.deepcopy(fresh).to(memory_format=layout), (images / 255).contiguous(memory_format=layout), labels,
            epochs=1, batch_size=options.batch, epsilon=regime.epsilon, steps=regime.steps, warm_epochs=1,
            rate=regime.rate, generator=torch.Generator().manual_seed(1),
        )  # fmt: skip

    work = {
        "this project": ours,
        "plain loop, contiguous": lambda: textbook(torch.contiguous_format),
        "plain loop, channels last": lambda: textbook(torch.channels_last),
    }
    times, ceiling = measure.interleaved(work, options.rounds), measure.matmul_ceiling()
    own, whole = times["this project"].wall, gigaflops(fresh, options.images, regime.steps)
    print(f"{options.threads} threads, load {os.getloadavg()[0]:.1f}; {ceiling:.0f} GFLOP/s is a 2048 x 2048 product")
    print("| training | seconds (range) | images/s | times ours | GFLOP/s of its direct convolutions |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, found in times.items():
        ratio = statistics.median(a / b for a, b in zip(found.wall, own, strict=True))
        extra = 0.0 if name == "this project" else whole * regime.steps / (3 + 2 * regime.steps)
        spread = f"{found.median:.1f} ({min(found.wall):.1f} to {max(found.wall):.1f})"
        speed = (whole + extra) / found.median
        print(f"| {name} | {spread} | {options.images / found.median:.2f} | {ratio:.2f} | {speed:.0f} |")
    print("\n| share of the operations, profiled | |\n| --- | ---: |")
    for kind, share in profiled(ours, {**KINDS, "Winograd's products": ("aten::bmm",)}).items():
        print(f"| {kind} | {share:.0%} |")


if __name__ == "__main__":
    main()
