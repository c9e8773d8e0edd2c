"""`python -m perf.training_speed`: one standard training of the small ResNet on one core, and where its time goes.

Beside it, in turn: the loop of a PyTorch textbook on the network layer by layer, in PyTorch's default layout and in
channels last. All in one process that keeps freed memory, so that only the network's form and the loop differ.
"""

import argparse
import statistics
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.flop_counter import FlopCounterMode

from benchmark.data.embedded import FashionMNIST13k
from benchmark.machine.freed_memory import keep_freed_memory
from benchmark.models.classifier import InputInfo
from benchmark.regimes.regime import to_float
from benchmark.regimes.standard import Standard
from perf import measure
from perf.training import as_plain, network, ours

KINDS = {
    "convolutions, forward": ("aten::mkldnn_convolution",),
    "convolutions, backward": ("aten::convolution_backward",),
    "batch norm": ("aten::native_batch_norm", "aten::native_batch_norm_backward"),
    "ReLU": ("aten::clamp_min_", "aten::threshold_backward"),
}
"""What a profile's operations count as; the others are one more kind."""


def plain_training(model: nn.Module, images: Tensor, labels: Tensor, regime: Standard) -> nn.Module:
    """images: (N, C, H, W) float, in the layout of the model."""
    batches = DataLoader(
        TensorDataset(images, labels), batch_size=regime.batch_size, shuffle=True, drop_last=True,
        generator=torch.Generator().manual_seed(1),
    )  # fmt: skip
    optimizer = torch.optim.SGD(
        model.parameters(), lr=1, momentum=regime.momentum, nesterov=True, weight_decay=regime.weight_decay
    )
    steps = regime.epochs * len(batches)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: regime.rate(step, steps))
    model.train()
    for _ in range(regime.epochs):
        for x, y in batches:
            loss = functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def flops_of_a_step(model: nn.Module, x: Tensor, y: Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        functional.cross_entropy(model(x), y).backward()
    return int(counter.get_total_flops())


def shares(regime: Standard, info: InputInfo, images: Tensor, labels: Tensor) -> dict[str, float]:
    """Of the operations' own CPU time in one epoch, by kind."""
    once = regime.model_copy(update={"epochs": 1})
    return profiled(lambda: ours(once, info, images, labels), KINDS)


def profiled(work: Callable[[], object], kinds: Mapping[str, tuple[str, ...]]) -> dict[str, float]:
    """Of the operations' own CPU time in `work`, by kind. kinds: which operations count as what."""
    with profile(activities=[ProfilerActivity.CPU]) as found:
        work()
    own = {event.key: event.self_cpu_time_total for event in found.key_averages()}
    times = {kind: sum(own.get(name, 0.0) for name in names) for kind, names in kinds.items()}
    times["all else: adds, pools, data, optimizer, dispatch"] = sum(own.values()) - sum(times.values())
    return {kind: time / sum(own.values()) for kind, time in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=4000, help="training images (default %(default)s)")
    parser.add_argument("--epochs", type=int, default=8, help="(default %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="times each contender runs (default %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    data = FashionMNIST13k().load(None)
    info = InputInfo(1, 28, 28, 10, data.mean, data.std)
    images, labels = data.images[: options.members], data.labels[: options.members]
    regime, trained = Standard(epochs=options.epochs), dict[str, nn.Module]()

    def textbook(layout: torch.memory_format) -> nn.Module:
        model = as_plain(network(info), info).to(memory_format=layout)
        return plain_training(model, (images / 255).contiguous(memory_format=layout), labels, regime)

    work = {
        "this project": lambda: trained.update({"this project": ours(regime, info, images, labels)}),
        "plain loop, contiguous": lambda: trained.update({"plain loop, contiguous": textbook(torch.contiguous_format)}),
        "plain loop, channels last": lambda: trained.update(
            {"plain loop, channels last": textbook(torch.channels_last)}
        ),
    }
    times = measure.interleaved(work, options.rounds)
    ceiling = measure.matmul_ceiling()
    own, test = times["this project"].cpu, to_float(data.test_images)
    steps = regime.epochs * (len(images) // regime.batch_size)
    x, y = to_float(images[: regime.batch_size]), labels[: regime.batch_size]
    print(f"{ceiling:.1f} GFLOP/s is what a product of 2048 x 2048 float32 matrices reaches\n")
    print("| training | CPU seconds (range) | times ours | ms a step | share of ceiling | test accuracy |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, found in times.items():
        median = statistics.median(found.cpu)
        ratio = statistics.median(a / b for a, b in zip(found.cpu, own, strict=True))
        share = flops_of_a_step(trained[name], x, y) * steps / median / 1e9 / ceiling
        with torch.no_grad():
            right = float((trained[name](test).argmax(1) == data.test_labels).double().mean())
        spread = f"{median:.2f} ({min(found.cpu):.2f} to {max(found.cpu):.2f})"
        print(f"| {name} | {spread} | {ratio:.2f} | {1e3 * median / steps:.1f} | {share:.0%} | {right:.3f} |")
    print("\n| share of an epoch's operations, profiled | |\n| --- | ---: |")
    for kind, share in shares(regime, info, images, labels).items():
        print(f"| {kind} | {share:.0%} |")


if __name__ == "__main__":
    main()
