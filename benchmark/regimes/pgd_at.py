"""Adversarial training with projected gradient descent."""

from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from benchmark.evasion.norms import LARGEST_L2, NormName, check_length
from benchmark.evasion.pgd import perturb_for_training, usual_step_size
from benchmark.models.classifier import Classifier
from benchmark.regimes.regime import Network, SupervisedTraining
from benchmark.spec import Fraction
from benchmark.trials.training_progress import UNKEPT, Progress


class PGDAdversarialTraining(SupervisedTraining):
    """Attack the model at each step and train on the adversarial examples alone.

    step_size: pixel units; None is 2.5 epsilon / steps. warm_epochs: epochs over which epsilon
    rises linearly from 0, without which a small network may stay at chance.
    """

    SOURCE = "Madry et al. 2018"
    norm: NormName = "linf"
    epsilon: Fraction = Field(gt=0, le=LARGEST_L2)
    steps: int = Field(default=7, ge=1, le=10_000)
    step_size: Fraction | None = Field(default=None, gt=0, le=LARGEST_L2)
    warm_epochs: int = Field(default=0, ge=0, le=100_000)

    @model_validator(mode="after")
    def _in_pixel_units(self) -> Self:
        check_length(self.norm, self.epsilon)
        check_length(self.norm, self.step_size, "step_size")
        return self

    @property
    def passes_per_image(self) -> float:
        return float(self.epochs * (self.steps + 1))

    @property
    def adversary(self) -> tuple[str, float]:
        return self.norm, self.epsilon

    def fit(
        self,
        model: Classifier,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator,
        progress: Progress = UNKEPT,
    ) -> list[float]:
        warm_steps = self.warm_epochs * (len(images) // min(self.batch_size, len(images)))

        def perturb(network: Network, x: Tensor, y: Tensor, step: int) -> Tensor:
            epsilon = self.epsilon * min(1.0, (step + 1) / warm_steps) if warm_steps else self.epsilon
            step_size = (self.step_size or usual_step_size(self.epsilon, self.steps)) * epsilon / self.epsilon
            return self.attack(network, x, y, epsilon, step_size, generator)

        return self.descend(model, images, labels, generator, progress, perturb)

    def attack(
        self,
        network: Network,
        clean: Tensor,
        labels: Tensor,
        epsilon: float,
        step_size: float,
        generator: torch.Generator,
    ) -> Tensor:
        """The batch to train on: here the images in the ball of radius epsilon that raise the cross-entropy most.

        network: in eval mode, its weights frozen. epsilon, step_size: those of this step, smaller in `warm_epochs`.
        """
        return perturb_for_training(network, clean, labels, self.norm, epsilon, self.steps, step_size, generator)
