"""`Regime`: what every training regime provides, and the training loop that most of them share."""

import contextlib
import math
import shutil
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from benchmark.evasion.attack import frozen
from benchmark.models.classifier import Architecture, Classifier, InputInfo
from benchmark.regimes.sgd import SGD
from benchmark.regimes.training_state import TrainingState
from benchmark.spec import Fraction, Spec, SpecError
from benchmark.trials.training_progress import UNKEPT, Progress
from benchmark.trials.trial import Row
from benchmark.user_files.returned import described

_LOOKED_AT = 250
"""Images that go through the network at once after a training has failed."""
Network = Callable[[Tensor], Tensor]
Perturb = Callable[[Network, Tensor, Tensor, int], Tensor]
"""Network, batch, labels and the number of steps that were taken before -> the batch to train on."""


class Regime(Spec):
    """How a freshly initialised model becomes a trained one."""

    @abstractmethod
    def fit(
        self,
        model: Classifier,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator,
        progress: Progress = UNKEPT,
    ) -> list[float]:
        """Train in place; returns the mean loss of each epoch.

        images: (N, C, H, W) uint8 and labels: (N,), both on the model's device. progress: where a training that
        takes long keeps its state, and finds that of an earlier attempt, from which it must end in the same weights.
        The network comes back in eval mode. Raises FloatingPointError when the loss is not finite.
        """

    @property
    def passes_per_image(self) -> float:
        """Forward-backward passes an image costs in the whole training."""
        return 0.0

    @property
    def adversary(self) -> tuple[str, float] | None:
        """Norm and radius (pixel units) of the adversary it trains against, if any."""
        return None

    def trainable(self, architecture: Architecture, info: InputInfo) -> Architecture:
        """What is planned in place of an architecture that cannot be trained this way; here the architecture itself."""
        return architecture

    def check(self, num_images: int) -> None:
        """Raise SpecError, before anything runs, where a training on so many images lacks what it needs."""

    def facts(self, model: Classifier, num_images: int) -> list[Row]:
        """Rows of the stage `train` about the training, besides its losses; here none."""
        return []


class SupervisedTraining(Regime):
    """SGD with Nesterov momentum; the learning rate rises linearly to `lr` and falls linearly to 0.

    warmup: share of the steps on the way up. augment: random crop from 2 pixels of padding, and
    horizontal flips. Off by default: augmentation hides what a model memorises.

    A regime of its own gives a `loss`, or a `fit` that calls `descend` with how batches are perturbed, or both.
    """

    epochs: int = Field(default=8, ge=1, le=100_000)
    batch_size: int = Field(default=64, ge=1, le=1_000_000)
    lr: Fraction = Field(default=0.1, gt=0, le=1_000)
    momentum: Fraction = Field(default=0.9, ge=0, lt=1)
    weight_decay: Fraction = Field(default=5e-4, ge=0, le=1_000)
    warmup: Fraction = Field(default=0.2, gt=0, lt=1)
    augment: bool = False

    @property
    def passes_per_image(self) -> float:
        return float(self.epochs)

    def loss(self, network: Network, clean: Tensor, perturbed: Tensor, labels: Tensor) -> Tensor:
        """What a step lowers, a scalar: here the mean cross-entropy of the perturbed images alone.

        network: in training mode; each call is one forward pass, and one update of batch norm's statistics.
        clean: the batch (N, C, H, W) in [0, 1], augmented where that is asked for. perturbed: what `perturb` made of
        it, else `clean` itself. labels: (N,).
        """
        return functional.cross_entropy(network(perturbed).float(), labels)

    def fit(
        self,
        model: Classifier,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator,
        progress: Progress = UNKEPT,
    ) -> list[float]:
        return self.descend(model, images, labels, generator, progress)

    def descend(
        self,
        model: Classifier,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator,
        progress: Progress,
        perturb: Perturb | None = None,
    ) -> list[float]:
        """The loop: shuffle, perturb if asked to, step. Goes on after the last epoch that `progress` knows."""
        batch = min(self.batch_size, len(images))
        # A last batch of one image would break batch norm, and short batches have noisier gradients.
        steps_per_epoch = len(images) // batch
        optimizer = SGD(model.parameters(), self.momentum, self.weight_decay)
        state = TrainingState({"model": model}, {"sgd": optimizer}, generator)
        history = resumed(state, progress.load(), self.epochs)
        compiled = _compiled(model, images.device)
        for epoch in range(len(history), self.epochs):
            order = torch.randperm(len(images), generator=generator).to(images.device)
            total = torch.zeros((), device=images.device)
            for i, picked in enumerate(order[: steps_per_epoch * batch].split(batch)):
                step = epoch * steps_per_epoch + i
                x, y = to_float(images.index_select(0, picked)), labels[picked]
                if self.augment:
                    x = _augmented(x, generator)
                with _autocast(images.device):
                    perturbed = x
                    if perturb is not None:
                        perturbed = _in_eval_mode(perturb, model, compiled, x, y, step)
                    model.train()
                    loss = self.loss(compiled, x, perturbed, y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step(self.rate(step, self.epochs * steps_per_epoch))
                total += loss.detach()
            history.append(float(total) / steps_per_epoch)
            if not math.isfinite(history[-1]):
                raise FloatingPointError(
                    f"the training loss is {history[-1]} in epoch {epoch + 1}; {_why(model, images)}"
                )
            if epoch + 1 < self.epochs and progress.due:
                progress.save(state.gather(history=torch.tensor(history, dtype=torch.float64)))
        model.eval()
        return history

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of a step, of a training of `steps`."""
        peak = max(1.0, self.warmup * steps)
        return self.lr * min((step + 1) / peak, max(0.0, (steps - step) / max(1.0, steps - peak)))


def checked(history: object, model: nn.Module, method: str) -> list[float]:
    """What `fit` returned, and the state it left the network in. method: "regime 'mine'". Raises SpecError."""
    if not isinstance(history, list) or not all(isinstance(loss, int | float) for loss in history):
        allowed = "a list of numbers, the mean loss of each epoch; the network is trained in place"
        raise SpecError(f"{method}: fit returned {described(history)}; allowed: {allowed}")
    if any(module.training for module in model.modules()):
        raise SpecError(f"{method}: fit left the network in training mode; allowed: model.eval() at its end")
    return history


def to_float(images: Tensor) -> Tensor:
    """uint8 (N, C, H, W) -> float32 in [0, 1], channels last."""
    return images.to(torch.float32, memory_format=torch.channels_last).div_(255)


def resumed(state: TrainingState, found: Mapping[str, Tensor] | None, epochs: int) -> list[float]:
    """Loss of each epoch that is behind the training, whose state is set to after them; [] if it begins anew."""
    history = (found or {}).get("history")
    if found is None or history is None or history.ndim != 1 or history.dtype != torch.float64:
        return []
    return history.tolist() if 0 < len(history) < epochs and state.restore(found) else []


def _in_eval_mode(perturb: Perturb, model: Classifier, compiled: Network, x: Tensor, y: Tensor, step: int) -> Tensor:
    """Eval mode: attack the fixed function that is deployed, not one that moves with the batch
    (Pang et al. 2021, "Bag of Tricks for Adversarial Training", Sec. 3.7).
    """
    model.eval()
    with frozen(model):
        return perturb(compiled, x, y, step).detach()


def _compiled(model: Classifier, device: torch.device) -> Network:
    """Compiled where it pays: on a GPU, if the C compiler that Triton calls is there.

    On a CPU compiling takes longer than a small network's whole training.
    """
    if device.type == "cuda" and any(shutil.which(name) for name in ("cc", "gcc", "clang")):
        return cast(Network, torch.compile(model))
    return model


def _autocast(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """bfloat16 where it pays: on GPUs that compute in it. A CPU stays in float32."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.autocast("cuda", torch.bfloat16)
    return contextlib.nullcontext()


@torch.no_grad()
def _why(model: Classifier, images: Tensor) -> str:
    """What to do about a loss that is no number. Overwrites the weights: fresh ones show whether they were at fault."""
    model.initialise(torch.Generator().manual_seed(0))
    model.eval()
    logits = torch.cat([model(to_float(batch)) for batch in images.split(_LOOKED_AT)])
    bad = int((~logits.isfinite().all(1)).sum())
    if not bad:
        return "try a smaller lr"
    return (
        f"no lr would help: with fresh weights too the network gives NaN or infinity for {bad} of {len(images)} images"
    )


def _augmented(x: Tensor, generator: torch.Generator) -> Tensor:
    """Random crop from 2 pixels of zero padding and a horizontal flip, an image each."""
    n, _, height, width = x.shape
    top, left = torch.randint(0, 5, (2, n), generator=generator).to(x.device)
    flip = (torch.rand(n, generator=generator) < 0.5).to(x.device)
    rows = top[:, None] + torch.arange(height, device=x.device)
    columns = torch.arange(width, device=x.device).expand(n, width)
    columns = left[:, None] + torch.where(flip[:, None], columns.flip(1), columns)
    padded = functional.pad(x, (2, 2, 2, 2))
    index = torch.arange(n, device=x.device)[:, None, None]
    cropped = padded[index, :, rows[:, :, None], columns[:, None, :]]
    return cropped.permute(0, 3, 1, 2)
