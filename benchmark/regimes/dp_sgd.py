"""Training with differential privacy: each image's gradient is clipped, and noise is added to their sum."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from benchmark.machine.copies import sent
from benchmark.models.classifier import Architecture, Classifier, InputInfo
from benchmark.models.group_norm import GroupNormed, num_batch_norms
from benchmark.models.small_resnet import PooledConvolution, PooledStem
from benchmark.regimes import privacy_accounting
from benchmark.regimes.privacy_accounting import AccountantName, Sampling
from benchmark.regimes.regime import EpochTraining, Labelled, to_float
from benchmark.regimes.training_state import TrainingState
from benchmark.spec import Fraction, SpecError
from benchmark.trials.training_progress import UNKEPT, Progress
from benchmark.trials.trial import Row

if TYPE_CHECKING:
    from opacus.optimizers import DPOptimizer

_AT_ONCE = 2**26
"""Numbers in the gradients of the images that go through the network at once."""


class DPSGD(EpochTraining):
    """SGD with momentum on clipped, noisy gradients of batches to which each image comes by its own coin.

    batch_size: mean size of a batch. max_grad_norm: an image's gradient is shortened to this l2 norm. One of: epsilon,
    what is to be proven, for which the least noise is sought; noise_multiplier, standard deviation of the noise as a
    multiple of max_grad_norm. delta: None is 1 / (10 x number of images). accountant: see `privacy_accounting`.
    Epsilon and delta are of adding or removing one image, as in Opacus; near-duplicates are several images. The noise
    is pseudo-random, from the trial's key: the proof is of the method, and holds against who does not have that key.

    Batch norm is replaced, see `GroupNormed`. Differs from Opacus's engine: the same clipping, noise and accountants,
    with all randomness from one generator, so that a training can be resumed.
    """

    SOURCE = "Abadi et al. 2016, Deep Learning with Differential Privacy, arXiv 1607.00133; Opacus, arXiv 2109.12298"
    epochs: int = Field(default=20, ge=1, le=100_000)
    batch_size: int = Field(default=256, ge=1, le=1_000_000)
    lr: Fraction = Field(default=0.5, gt=0, le=1_000)
    momentum: Fraction = Field(default=0.9, ge=0, lt=1)
    max_grad_norm: Fraction = Field(default=1.0, gt=0, le=1_000_000)
    epsilon: Fraction | None = Field(default=None, gt=0, le=1_000)
    noise_multiplier: Fraction | None = Field(default=None, gt=0, le=1_000)
    delta: Fraction | None = Field(default=None, gt=0, lt=1)
    accountant: AccountantName = "rdp"

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.epsilon is None) == (self.noise_multiplier is None):
            there = "neither" if self.epsilon is None else "both"
            raise SpecError(f"dp_sgd has {there} of 'epsilon' and 'noise_multiplier'; allowed: one of them")
        return self

    @property
    def passes_per_image(self) -> float:
        return 2.0 * self.epochs  # gradients by image cost about as much again

    def trainable(self, architecture: Architecture, info: InputInfo) -> Architecture:
        with torch.device("meta"):
            return GroupNormed(of=architecture) if num_batch_norms(architecture.network(info)) else architecture

    def check(self, num_images: int) -> None:
        super().check(num_images)
        privacy_accounting.check_installed()
        self.noise(num_images)

    def sampling(self, num_images: int) -> Sampling:
        """How images are drawn: an epoch is as many steps as whole batches fit in."""
        rate = min(1.0, self.batch_size / num_images)
        return Sampling(rate, self.epochs * max(1, round(1 / rate)))

    def noise(self, num_images: int) -> float:
        """The noise multiplier. Raises SpecError for an epsilon that cannot be reached."""
        if self.noise_multiplier is not None:
            return self.noise_multiplier
        assert self.epsilon is not None
        sampling, delta = self.sampling(num_images), self.chosen_delta(num_images)
        return privacy_accounting.noise_for(self.epsilon, sampling, delta, self.accountant)

    def chosen_delta(self, num_images: int) -> float:
        return self.delta or 0.1 / num_images

    def facts(self, model: Classifier, num_images: int) -> list[Row]:
        noise, sampling, delta = self.noise(num_images), self.sampling(num_images), self.chosen_delta(num_images)
        proven = privacy_accounting.proven_epsilon(noise, sampling, delta, self.accountant)
        substituted = privacy_accounting.epsilon_under_substitution(noise, sampling, delta)
        note = f"add-or-remove, at delta {delta:.3g}; accountant {self.accountant}"
        rows = [
            Row(metric="proven_epsilon", value=proven, n=num_images, note=note),
            Row(metric="proven_epsilon_substitution", value=substituted, n=num_images, note=f"at delta {delta:.3g}"),
            Row(metric="proven_delta", value=delta, n=num_images),
            Row(metric="noise_multiplier", value=noise, n=num_images),
        ]
        if count := model.num_replaced:
            rows.append(Row(metric="layers_replaced", value=float(count), note=f"{count} batch norms by group norms"))
        return rows

    def fit(
        self,
        model: Classifier,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator,
        progress: Progress = UNKEPT,
        validation: Labelled | None = None,
    ) -> list[float]:
        self.check(len(images))
        if count := num_batch_norms(model):
            raise SpecError(
                f"regime 'dp_sgd': the network has {count} batch norms, by which an image changes the gradients of "
                "others; allowed: architecture {method: group_norm, of: ...}"
            )
        sampling = self.sampling(len(images))
        optimizer = self._optimizer(model, self.noise(len(images)), sampling.rate * len(images))
        state = TrainingState({"model": model}, {"sgd": optimizer.original_optimizer}, generator)
        loop, steps = self.loop(model, state, progress, validation), sampling.steps // self.epochs

        def epoch(number: int) -> float:
            total, seen = torch.zeros((), device=images.device), 0
            model.train()
            for step in range(number * steps, (number + 1) * steps):
                drawn = (torch.rand(len(images), generator=generator) < sampling.rate).nonzero()[:, 0]
                drawn = sent(drawn, images.device)
                total += _step(model, optimizer, to_float(images[drawn]), labels[drawn], generator)
                loop.stepped(step)
                seen += len(drawn)
            return float(total) / max(seen, 1)

        with _gradients_by_image(model):
            return loop.run(epoch)

    def _optimizer(self, model: nn.Module, noise: float, expected_batch: float) -> "DPOptimizer":
        from opacus.optimizers import DPOptimizer

        sgd = torch.optim.SGD(model.parameters(), lr=self.lr, momentum=self.momentum)
        return DPOptimizer(
            sgd,
            noise_multiplier=noise,
            max_grad_norm=self.max_grad_norm,
            expected_batch_size=expected_batch,
            loss_reduction="mean",
        )


def _step(model: Classifier, optimizer: "DPOptimizer", x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
    """One noisy step on a batch, which may be empty; returns the sum of its losses."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    # Noise is drawn on the model's device; its seed comes from the trial's one generator, on the CPU.
    seed = int(torch.randint(2**62, (), generator=generator))
    optimizer.generator = torch.Generator(x.device).manual_seed(seed)
    total = torch.zeros((), device=x.device)
    at_once = max(1, _AT_ONCE // sum(weight.numel() for weight in weights))
    parts = list(zip(x.split(at_once), y.split(at_once), strict=True))
    for number, (images, labels) in enumerate(parts):
        optimizer.zero_grad(set_to_none=True)
        if len(images):
            loss = functional.cross_entropy(model(images), labels, reduction="sum")
            loss.backward()
            total += loss.detach()
        else:
            for weight in weights:
                weight.grad_sample = weight.new_zeros(0, *weight.shape)  # type: ignore[attr-defined]
        optimizer.signal_skip_step(number + 1 < len(parts))
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return total


@contextmanager
def _gradients_by_image(model: Classifier) -> Iterator[None]:
    """In it, a backward pass of a sum of losses leaves each image's own gradient in `grad_sample` of every weight."""
    from opacus.grad_sample import GradSampleHooks, register_grad_sampler

    for pooled in (PooledStem, PooledConvolution):
        register_grad_sampler(pooled)(_of_pooled)
    register_grad_sampler(nn.Conv2d)(_of_convolution)
    in_place = [layer for layer in model.modules() if getattr(layer, "inplace", False)]
    for layer in in_place:  # it would overwrite what the hooks keep
        setattr(layer, "inplace", False)  # noqa: B010
    model.train()
    hooks = GradSampleHooks(model, loss_reduction="sum")
    try:
        with warnings.catch_warnings():
            # The first layer's input, the images, want no gradient; its weights do.
            warnings.filterwarnings("ignore", "Full backward hook is firing", UserWarning)
            yield
    finally:
        hooks.cleanup()
        for layer in in_place:
            setattr(layer, "inplace", True)  # noqa: B010


def _of_convolution(layer: nn.Conv2d, inputs: list[Tensor], upstream: Tensor) -> dict[Tensor, Tensor]:
    """As Opacus 1.6, which takes the strides of its input for those of NCHW: of channels-last ones it is wrong."""
    from opacus.grad_sample.conv import compute_conv_grad_sample

    found: dict[Tensor, Tensor] = compute_conv_grad_sample(layer, [inputs[0].contiguous()], upstream.contiguous())
    return found


def _of_pooled(layer: PooledStem | PooledConvolution, inputs: list[Tensor], upstream: Tensor) -> dict[Tensor, Tensor]:
    """Each image's gradient of a convolution that is then pooled, 2x2. upstream: (N, outputs, h, w), of the loss."""
    x = inputs[0]
    before = functional.interpolate(upstream / 4, scale_factor=2)
    # An odd last row or column is in no pool.
    before = functional.pad(before, (0, x.shape[3] - before.shape[3], 0, x.shape[2] - before.shape[2]))
    patches = functional.unfold(x, 3, padding=1)
    found = torch.einsum("nop,nkp->nok", before.flatten(2), patches)
    return {layer.weight: found.view(len(x), *layer.weight.shape)}
