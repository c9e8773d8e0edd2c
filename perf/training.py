"""The two adversarial training loops that are compared, on the embedded data."""

import torch
from torch import Tensor, nn

from benchmark.models.classifier import InputInfo
from benchmark.models.small_resnet import SmallResNet
from benchmark.regimes.pgd_at import PGDAdversarialTraining
from benchmark.regimes.standard import Standard
from perf import plain

TRAINING = PGDAdversarialTraining(epsilon=0.1, steps=3, epochs=6, warm_epochs=2)


def network(info: InputInfo) -> nn.Module:
    model = SmallResNet().build(info)
    model.initialise(torch.Generator().manual_seed(0))
    return model


def ours(regime: Standard | PGDAdversarialTraining, info: InputInfo, images: Tensor, labels: Tensor) -> nn.Module:
    """images: (N, C, H, W) uint8."""
    model = network(info)
    regime.fit(model, images, labels, torch.Generator().manual_seed(1))
    return model


def with_plain_loop(info: InputInfo, images: Tensor, labels: Tensor) -> nn.Module:
    model = as_plain(network(info), info)
    plain.adversarial_training(
        model,
        images.float() / 255,
        labels,
        epochs=TRAINING.epochs,
        batch_size=TRAINING.batch_size,
        epsilon=TRAINING.epsilon,
        steps=TRAINING.steps,
        warm_epochs=TRAINING.warm_epochs,
        rate=triangle,
        generator=torch.Generator().manual_seed(1),
    )
    return model


def as_plain(model: nn.Module, info: InputInfo) -> nn.Module:
    """The same weights in the textbook's network, which has the same layers in the same order."""
    copy = plain.PlainNetwork(info)
    names, weights = copy.state_dict().keys(), dict(model.state_dict())
    fixed = {name: weights.pop(name) for name in ("mean", "std")}
    inner = [name for name in names if name not in fixed]
    copy.load_state_dict({**fixed, **dict(zip(inner, weights.values(), strict=True))})
    return copy.to(memory_format=torch.contiguous_format).eval()


def triangle(step: int, steps: int) -> float:
    """The learning rate of `TRAINING`: up over the first fifth, then down to 0."""
    peak = TRAINING.warmup * steps
    return TRAINING.lr * min((step + 1) / peak, (steps - step) / (steps - peak))
