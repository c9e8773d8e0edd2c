"""Networks as a caller of the Python interface may hold them, and a look at all that must not change."""

from typing import Any

import torch
from torch import Tensor, nn

SHAPE, NUM_CLASSES = (3, 8, 8), 4


def convolutional(seed: int = 0) -> nn.Module:
    """Convolutions with batch norm, which attacks merge while they run; in eval mode."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 64, NUM_CLASSES)
        )
        network.train()(torch.rand(32, *SHAPE))  # statistics of their own
    return network.eval()


class Binary(nn.Module):
    """Two classes; logits -z and z, z = <w, x> + b: all that an attack can do to it is known in closed form."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.weight = nn.Parameter(torch.randn(SHAPE, generator=generator) / 10)
        self.bias = nn.Parameter(-0.5 * self.weight.detach().sum())  # so that grey is at the border
        self.eval()

    def score(self, x: Tensor) -> Tensor:
        return (x * self.weight).flatten(1).sum(1) + self.bias

    def forward(self, x: Tensor) -> Tensor:
        z = self.score(x)
        return torch.stack([-z, z], 1)


class Normalised(nn.Module):
    """(x - mean) / std, then the network: what a caller would write by hand."""

    def __init__(self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.network = network
        self.mean, self.std = (torch.tensor(values).view(1, -1, 1, 1) for values in (mean, std))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network((x - self.mean) / self.std)
        return logits


def images(count: int = 24, seed: int = 1) -> Tensor:
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(seed))


def looks(model: nn.Module) -> list[Any]:
    """All that a caller could see of a model: parts, modes, hooks, and of each weight value, layout and gradient."""
    seen: list[Any] = [(name, id(m), m.training, len(m._forward_hooks)) for name, m in model.named_modules()]
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        grad = None if tensor.grad is None else tensor.grad.tolist()
        place = id(tensor), tensor.data_ptr(), tensor.stride()
        seen.append((name, place, tensor.requires_grad, grad, tensor.tolist()))
    return seen
