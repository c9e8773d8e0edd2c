"""Adversarial training with projected gradient descent."""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from benchmark.evasion.pgd import perturb_for_training, usual_step_size
from benchmark.regimes.adversarial import AdversarialTraining
from benchmark.regimes.regime import Network, Perturb, Trained
from benchmark.regimes.weight_perturbation import worst_weights
from benchmark.spec import Fraction


class PGDAdversarialTraining(AdversarialTraining):
    """Attack the model at each step and train on the adversarial examples alone.

    step_size: pixel units; None is 2.5 epsilon / steps. warm_epochs: epochs over which epsilon
    rises linearly from 0, without which a small network may stay at chance. weight_perturbation: the gradient of the
    loss is taken where each layer's weights are worst for the batch, as far from their own as this share of their norm
    (AWP, see `worst_weights`; the authors take 0.01, with `trades` 0.005).
    """

    SOURCE = "Madry et al. 2018"
    LATER = (*AdversarialTraining.LATER, "weight_perturbation")
    NUM_LOSS_PASSES: ClassVar[int] = 1
    """Times that `loss` sends the batch through the network."""
    steps: int = Field(default=7, ge=1, le=10_000)
    warm_epochs: int = Field(default=0, ge=0, le=100_000)
    weight_perturbation: Fraction = Field(default=0.0, ge=0, le=1)

    @property
    def passes_per_image(self) -> float:
        return self.epochs * (self.steps + self.loss_passes)

    @property
    def loss_passes(self) -> float:
        """Forward-backward passes that the gradient of `loss` costs an image and step."""
        return float(self.NUM_LOSS_PASSES * (2 if self.weight_perturbation else 1))

    @property
    def chosen_step_size(self) -> float:
        return self.step_size or usual_step_size(self.epsilon, self.steps)

    def perturbing(self, num_batches: int, generator: torch.Generator) -> Perturb:
        warm_steps = self.warm_epochs * num_batches

        def perturb(network: Network, x: Tensor, y: Tensor, step: int) -> Tensor:
            epsilon = self.epsilon * min(1.0, (step + 1) / warm_steps) if warm_steps else self.epsilon
            step_size = self.chosen_step_size * epsilon / self.epsilon
            return self.attack(network, x, y, epsilon, step_size, generator)

        return perturb

    def gradients(self, trained: Trained, clean: Tensor, perturbed: Tensor, labels: Tensor) -> Tensor:
        def at_these_weights() -> Tensor:
            return super(PGDAdversarialTraining, self).gradients(trained, clean, perturbed, labels)

        if not self.weight_perturbation:
            return at_these_weights()
        with worst_weights(trained.model, self.weight_perturbation, at_these_weights):
            return at_these_weights()

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
