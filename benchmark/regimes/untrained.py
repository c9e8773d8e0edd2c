"""The negative control: random weights."""

import torch
from torch import Tensor

from benchmark.models.classifier import Classifier
from benchmark.regimes.regime import Regime
from benchmark.trials.training_progress import UNKEPT, Progress


class Untrained(Regime):
    """No training at all: the model has seen no member, so in_rate must be 0.5."""

    SOURCE = "negative control"

    def fit(
        self,
        model: Classifier,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator,
        progress: Progress = UNKEPT,
    ) -> list[float]:
        model.eval()
        return []
