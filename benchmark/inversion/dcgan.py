"""A class-conditional DCGAN that learns what the auxiliary images of each class look like."""

import copy
from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from benchmark.inversion.dcgan_networks import Generator, initialise, operations
from benchmark.inversion.prior import Prior
from benchmark.machine.copies import sent
from benchmark.regimes.training_state import TrainingState
from benchmark.spec import Fraction
from benchmark.trials.training_progress import UNKEPT, Progress

_PARTS = 10
"""The training reports its loss so many times."""


class DCGAN(Prior):
    """Hinge losses, a projection discriminator, and augmentations that both sides see and gradients pass.

    The sources: the networks of Radford et al. 2016; classes in batch norm and in the discriminator as in Miyato and
    Koyama 2018, without spectral norm; real images under wrong labels count as made ones, as in Reed et al. 2016;
    translation by up to 1/8 and a cut-out of 1/3 of a side as in Zhao et al. 2020 (DiffAugment), since auxiliary
    images are few. What is kept is the running average of the generator's weights,
    with batch statistics counted anew. One made batch serves both updates of a step.

    width: channels before the image; they double at each halving of the side. latent: size of the latent.
    steps, batch_size: of the training; 1,200 steps on 28 x 28 take about a minute of one CPU core.
    lr: of the generator's Adam, half of it for the discriminator; held for half of the steps, then falling linearly
    to 0. average: decay of the running average.
    """

    SOURCE = "Radford et al. 2016; Miyato and Koyama 2018; Reed et al. 2016; Zhao et al. 2020"
    width: int = Field(default=24, ge=1, le=4_096)
    latent: int = Field(default=64, ge=1, le=65_536)
    steps: int = Field(default=1200, ge=1, le=100_000_000)
    batch_size: int = Field(default=64, ge=1, le=1_000_000)
    lr: Fraction = Field(default=2e-3, gt=0, le=1_000)
    average: Fraction = Field(default=0.995, ge=0, lt=1)

    def fit(
        self,
        images: Tensor,
        labels: Tensor,
        num_classes: int,
        generator: torch.Generator,
        progress: Progress = UNKEPT,
    ) -> tuple[dict[str, Tensor], list[float]]:
        c, h, w = images.shape[1:]
        network = self._network((c, h, w), num_classes)
        initialise(network, generator)
        network = network.to(images.device).to(memory_format=torch.channels_last).train()
        kept = copy.deepcopy(network)
        made, judge = _weights(network)
        adams = [torch.optim.Adam(weights, lr=self.lr, betas=(0.5, 0.99)) for weights in (made, judge)]
        state = TrainingState({"network": network, "average": kept}, {"made": adams[0], "judge": adams[1]}, generator)
        losses = torch.zeros(self.steps, device=images.device)
        for step in range(_resumed(state, progress.load(), losses), self.steps):
            for adam, lr in zip(adams, (self.lr, self.lr / 2), strict=True):
                adam.param_groups[0]["lr"] = lr * min(1.0, 2 * (1 - step / self.steps))
            picked = sent(torch.randint(len(images), (self.batch_size,), generator=generator), images.device)
            shift = sent(torch.randint(1, num_classes, (self.batch_size,), generator=generator), images.device)
            others = (labels[picked] + shift) % num_classes
            losses[step] = self._step(network, images[picked], labels[picked], others, adams, generator)
            with torch.no_grad():
                # Early on, the average follows more closely: it would keep the random start otherwise.
                decay = min(self.average, (step + 1) / (step + 10))
                for slow, fast in zip(_weights(kept)[0], made, strict=True):
                    slow.lerp_(fast, 1 - decay)
            if progress.due:
                progress.save(state.gather(losses=losses, num_steps=torch.tensor([step + 1])))
        kept.discriminator.load_state_dict(network.discriminator.state_dict())
        _count_statistics(kept, num_classes, generator)
        history = [float(part.mean()) for part in losses.chunk(_PARTS)]
        if not all(abs(loss) < float("inf") for loss in history):
            raise FloatingPointError(f"the prior's training loss is {history[-1]}; try a smaller lr")
        return {name: tensor.cpu().contiguous() for name, tensor in kept.state_dict().items()}, history

    def _step(
        self,
        network: Generator,
        images: Tensor,
        labels: Tensor,
        others: Tensor,
        adams: list[torch.optim.Adam],
        generator: torch.Generator,
    ) -> Tensor:
        """One update of the discriminator and one of the generator; returns the discriminator's loss.

        labels, others: (N,) right and wrong labels of the real images.
        """
        real = images.to(torch.float32, memory_format=torch.channels_last).div_(255)
        latents = sent(torch.randn(len(images), self.latent, generator=generator), images.device)
        fake = network(latents, labels)
        judge = network.discriminator
        features = judge.features(augmented(real, generator))
        wrong = [judge.judge(features, others), judge(augmented(fake.detach(), generator), labels)]
        loss = (
            functional.relu(1 - judge.judge(features, labels)).mean() + functional.relu(1 + torch.stack(wrong)).mean()
        )
        _update(adams[1], loss, network.discriminator)
        network.discriminator.requires_grad_(False)
        _update(adams[0], -network.realism(augmented(fake, generator), labels).mean(), network)
        network.discriminator.requires_grad_(True)
        return loss.detach()

    def sampler(self, shape: tuple[int, int, int], num_classes: int, weights: Mapping[str, Tensor]) -> Generator:
        network = self._network(shape, num_classes)
        network.load_state_dict(dict(weights))
        return network.to(memory_format=torch.channels_last).eval().requires_grad_(False)

    def operations(self, shape: tuple[int, int, int], num_classes: int) -> tuple[float, float]:
        making, judging = operations(shape, self.width, self.latent)
        # Forward, backward and weights are three passes; the discriminator has three batches, the last without weights.
        return self.steps * self.batch_size * (3 * making + 8 * judging), making + judging

    def _network(self, shape: tuple[int, int, int], num_classes: int) -> Generator:
        """With undefined weights: PyTorch's own initialisation would draw from global randomness."""
        with torch.device("meta"):
            network = Generator(shape, num_classes, self.width, self.latent)
        return network.to_empty(device="cpu")


def augmented(x: Tensor, generator: torch.Generator) -> Tensor:
    """Each image (N, C, H, W) moved by up to 1/8 of its sides, zeros moving in, then a box of 1/3 cut out."""
    n, _, height, width = x.shape
    down, across = height // 8, width // 8
    draws = sent(torch.rand(4, n, 1, generator=generator), x.device)
    rows = torch.arange(height, device=x.device)
    columns = torch.arange(width, device=x.device)
    padded = functional.pad(x, (across, across, down, down))
    index = torch.arange(n, device=x.device)[:, None, None]
    from_rows = rows + (draws[0] * (2 * down + 1)).long()
    from_columns = columns + (draws[1] * (2 * across + 1)).long()
    moved = padded[index, :, from_rows[:, :, None], from_columns[:, None, :]].permute(0, 3, 1, 2)
    top, left = (draws[2] * (height - height // 3 + 1)).long(), (draws[3] * (width - width // 3 + 1)).long()
    in_rows = (rows >= top) & (rows < top + height // 3)
    in_columns = (columns >= left) & (columns < left + width // 3)
    return moved * ~(in_rows[:, None, :, None] & in_columns[:, None, None, :])


def _resumed(state: TrainingState, found: Mapping[str, Tensor] | None, losses: Tensor) -> int:
    """Number of steps behind the training, whose state and `losses` are set to after them; 0 if it begins anew."""
    past, num_steps = (found or {}).get("losses"), (found or {}).get("num_steps")
    if found is None or past is None or num_steps is None or num_steps.shape != (1,) or past.shape != losses.shape:
        return 0
    if past.dtype != losses.dtype or not 0 < int(num_steps) <= len(losses) or not state.restore(found):
        return 0
    losses.copy_(past)
    return int(num_steps)


def _weights(network: Generator) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Of the generator and of the discriminator."""
    made = [weight for name, weight in network.named_parameters() if not name.startswith("discriminator.")]
    return made, list(network.discriminator.parameters())


def _update(adam: torch.optim.Adam, loss: Tensor, network: nn.Module) -> None:
    network.zero_grad(set_to_none=True)
    loss.backward()
    adam.step()


@torch.no_grad()
def _count_statistics(network: Generator, num_classes: int, generator: torch.Generator) -> None:
    """Batch norm's means and variances of the averaged weights, over 20 batches (Brock et al. 2019, standing)."""
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    device = next(network.parameters()).device
    labels = (torch.arange(100) % num_classes).to(device)
    for _ in range(20):
        network(sent(torch.randn(100, network.latent, generator=generator), device), labels)
