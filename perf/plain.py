"""What a PyTorch textbook would write: a contiguous network and an adversarial training loop."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from benchmark.models.classifier import InputInfo


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.norm1(x))
        return self.conv2(functional.relu(self.norm2(self.conv1(x)))) + self.shortcut(x)


class PlainNetwork(nn.Module):
    """The function of `benchmark.models.small_resnet`, layer by layer, in PyTorch's default layout.

    Its weights come in the same order, under names of its own.
    """

    def __init__(self, info: InputInfo, width: int = 16) -> None:
        super().__init__()
        stem = nn.Conv2d(info.channels, width, 3, padding=1, bias=False)
        blocks = [Block(width, width), nn.AvgPool2d(2), Block(width, 2 * width), nn.AvgPool2d(2)]
        blocks += [Block(2 * width, 4 * width), nn.BatchNorm2d(4 * width), nn.ReLU()]
        self.body = nn.Sequential(stem, *blocks)
        self.head = nn.Linear(4 * width, info.num_classes)
        self.register_buffer("mean", torch.tensor(info.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(info.std).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        x = functional.avg_pool2d(self.body[0]((images - self.mean) / self.std), 2)
        return self.head(self.body[1:](x).mean((2, 3)))


def adversarial_training(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    epochs: int,
    batch_size: int,
    epsilon: float,
    steps: int,
    warm_epochs: int,
    rate: Callable[[int, int], float],
    generator: torch.Generator,
) -> None:
    """Madry et al. 2018, linf. `loss.backward()` finds the attack's gradients, as tutorials have it, so that the
    weights' gradients are computed too and thrown away. The attack is in eval mode, as ours is.

    images: (N, C, H, W) float. rate: (step, steps) -> learning rate.
    """
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    batches = DataLoader(
        TensorDataset(images, labels), batch_size=batch_size, shuffle=True, drop_last=True, generator=generator
    )
    total, done = epochs * len(batches), 0
    for _ in range(epochs):
        for x, y in batches:
            ramp = min(1.0, (done + 1) / (warm_epochs * len(batches)))
            adversarial = attack(model, x, y, epsilon * ramp, steps, 2.5 * epsilon * ramp / steps)
            model.train()
            for group in optimizer.param_groups:
                group["lr"] = rate(done, total)
            loss = functional.cross_entropy(model(adversarial), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            done += 1
    model.eval()


def attack(model: nn.Module, x: Tensor, y: Tensor, epsilon: float, steps: int, step_size: float) -> Tensor:
    model.eval()
    delta = torch.empty_like(x).uniform_(-epsilon, epsilon)
    delta = (x + delta).clamp(0, 1) - x
    for _ in range(steps):
        delta.requires_grad_(True)
        model.zero_grad()
        functional.cross_entropy(model(x + delta), y).backward()
        delta = (delta.detach() + step_size * delta.grad.sign()).clamp(-epsilon, epsilon)
        delta = (x + delta).clamp(0, 1) - x
    return (x + delta).detach()


def inversion(model: nn.Module, start: Tensor, targets: Tensor, steps: int, step_size: float) -> Tensor:
    """Descent to each target class by normalised gradients, linearly shorter steps; gradients as in `attack`."""
    model.eval()
    x = start.clone()
    for step in range(steps):
        x.requires_grad_(True)
        x.grad = None
        model.zero_grad()
        functional.cross_entropy(model(x), targets, reduction="sum").backward()
        length = step_size * (1 - step / steps)
        x = x.detach() - length * x.grad / x.grad.flatten(1).norm(dim=1).view(-1, 1, 1, 1).clamp_min(1e-12)
        x = x.clamp(0, 1)
    return x.detach()
