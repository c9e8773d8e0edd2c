"""Conventional training."""

import torch
from torch import Tensor

from benchmark.models.classifier import Classifier
from benchmark.regimes.regime import SupervisedTraining
from benchmark.trials.training_progress import UNKEPT, Progress


class Standard(SupervisedTraining):
    """Empirical risk minimisation on clean images."""

    SOURCE = "conventional training"

    def fit(
        self,
        model: Classifier,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator,
        progress: Progress = UNKEPT,
    ) -> list[float]:
        return self.descend(model, images, labels, generator, progress)
