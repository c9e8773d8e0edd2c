"""`Regime`: what every training regime provides, and the training loop that most of them share."""

import inspect
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from benchmark.evasion.attack import frozen
from benchmark.evasion.winograd import fast_if_wide
from benchmark.machine.copies import sent
from benchmark.models.classifier import Architecture, Classifier, InputInfo
from benchmark.regimes.augmentation import augmented
from benchmark.regimes.epochs import Epochs, Guard
from benchmark.regimes.running_network import Network as Network
from benchmark.regimes.running_network import autocast, compiled, why_not_finite
from benchmark.regimes.running_network import to_float as to_float
from benchmark.regimes.sgd import SGD
from benchmark.regimes.training_state import TrainingState
from benchmark.regimes.watched import Validation, Watched
from benchmark.spec import Fraction, Spec, SpecError
from benchmark.trials.training_progress import UNKEPT, Progress
from benchmark.trials.trial import Row
from benchmark.user_files.returned import described

Labelled = tuple[Tensor, Tensor]
"""images (N, C, H, W) uint8 and labels (N,)."""
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
        A regime whose `num_validation` is above 0 also gets `validation`: so many other images and their labels.
        The network comes back in eval mode. Raises FloatingPointError when the loss is not finite.
        """

    @property
    def passes_per_image(self) -> float:
        """Forward-backward passes an image costs in the whole training."""
        return 0.0

    @property
    def further_passes(self) -> float:
        """Passes of the whole training that do not grow with the number of images."""
        return 0.0

    @property
    def num_validation(self) -> int:
        """Auxiliary images that it is to be watched on; 0 for none."""
        return 0

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


class EpochTraining(Regime):
    """Gradient steps in epochs, see `Epochs`.

    weight_average: 0 for the last weights, else the decay, such as 0.99, of a running mean that the model gets instead,
    see `AveragedWeights`. validation: see `Validation`.
    """

    LATER: ClassVar[tuple[str, ...]] = ("weight_average", "validation")
    epochs: int = Field(default=8, ge=1, le=100_000)
    weight_average: Fraction = Field(default=0.0, ge=0, lt=1)
    validation: Validation | None = None

    @property
    def num_validation(self) -> int:
        return self.validation.num_images if self.validation else 0

    @property
    def further_passes(self) -> float:
        return self.epochs * self.validation.passes(self.adversary is not None) if self.validation else 0.0

    def check(self, num_images: int) -> None:
        if self.validation and "validation" not in inspect.signature(self.fit).parameters:
            raise SpecError("this regime's fit does not take it; allowed: null", ("validation",))

    def loop(
        self,
        model: Classifier,
        state: TrainingState,
        progress: Progress,
        validation: Labelled | None,
        guard: Guard | None = None,
    ) -> Epochs:
        """The loop over this training's epochs. validation: as `fit` gets it."""
        watched, settings = None, self.validation
        if settings is not None and validation is not None:
            watched = Watched(*validation, self.adversary, settings.steps)
        stopping = settings is not None and watched is not None and settings.early_stopping
        return Epochs(model, state, self.epochs, progress, self.weight_average, watched, stopping, guard)


@dataclass(frozen=True)
class Trained:
    """What a step works on. network: the model, compiled where that pays. carried: see `SupervisedTraining.carried`."""

    model: Classifier
    network: Network
    carried: nn.Module | None


class SupervisedTraining(EpochTraining):
    """SGD with Nesterov momentum; the learning rate rises linearly to `lr` and falls linearly to 0.

    warmup: share of the steps on the way up. augment: random crop from 2 pixels of padding, and
    horizontal flips. Off by default: augmentation hides what a model memorises.

    A regime of its own gives a `loss`, or a way of `perturbing` batches, or both.
    """

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

    def perturbing(self, num_batches: int, generator: torch.Generator) -> Perturb | None:
        """How batches are perturbed before a step; here they are not. num_batches: of an epoch."""
        return None

    def gradients(self, trained: Trained, clean: Tensor, perturbed: Tensor, labels: Tensor) -> Tensor:
        """Leave the gradient of `loss` in the weights, which have none; returns the loss."""
        with autocast(clean.device):
            loss = self.loss(trained.network, clean, perturbed, labels)
        loss.backward()
        return loss.detach()

    @property
    def steps_a_batch(self) -> int:
        """Steps on each batch, one after the other."""
        return 1

    def carried(self, batch: Tensor) -> nn.Module | None:
        """What a step leaves for the next one besides weights, as buffers; here nothing. batch: like the first one."""
        return None

    def guard(self, images: Tensor, labels: Tensor) -> Guard | None:
        """What ends the training early; here nothing. images, labels: those that are trained on."""
        return None

    def fit(
        self,
        model: Classifier,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator,
        progress: Progress = UNKEPT,
        validation: Labelled | None = None,
    ) -> list[float]:
        perturb = self.perturbing(len(images) // min(self.batch_size, len(images)), generator)
        return self.descend(model, images, labels, generator, progress, perturb, validation)

    def descend(
        self,
        model: Classifier,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator,
        progress: Progress,
        perturb: Perturb | None = None,
        validation: Labelled | None = None,
    ) -> list[float]:
        """The loop: shuffle, perturb if asked to, step. Goes on after the last epoch that `progress` knows."""
        batch = min(self.batch_size, len(images))
        # A last batch of one image would break batch norm, and short batches have noisier gradients.
        num_batches = len(images) // batch
        steps = num_batches * self.steps_a_batch
        optimizer = SGD(model.parameters(), self.momentum, self.weight_decay)
        network = compiled(model, images, self.passes_per_image * len(images), batch)
        trained = Trained(model, network, self.carried(to_float(images[:batch])))
        modules = {"model": model} | ({} if trained.carried is None else {"carried": trained.carried})
        state = TrainingState(modules, {"sgd": optimizer}, generator)
        loop = self.loop(model, state, progress, validation, self.guard(images, labels))
        loop.why = lambda: why_not_finite(model, images)

        def epoch(number: int) -> float:
            order = sent(torch.randperm(len(images), generator=generator), images.device)
            total, step = torch.zeros((), device=images.device), number * steps
            for picked in order[: num_batches * batch].split(batch):
                x, y = to_float(images.index_select(0, picked)), labels[picked]
                if self.augment:
                    x = augmented(x, generator)
                for _ in range(self.steps_a_batch):
                    perturbed = x if perturb is None else _in_eval_mode(perturb, trained, x, y, step)
                    model.train()
                    optimizer.zero_grad()
                    total += self.gradients(trained, x, perturbed, y)
                    optimizer.step(self.rate(step, self.epochs * steps))
                    loop.stepped(step)
                    step += 1
            return float(total) / steps

        return loop.run(epoch)

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


def _in_eval_mode(perturb: Perturb, trained: Trained, x: Tensor, y: Tensor, step: int) -> Tensor:
    """Eval mode: attack the fixed function that is deployed, not one that moves with the batch
    (Pang et al. 2021, "Bag of Tricks for Adversarial Training", Sec. 3.7).
    """
    trained.model.eval()
    with autocast(x.device), frozen(trained.model), fast_if_wide(trained.model):
        return perturb(trained.network, x, y, step).detach()
