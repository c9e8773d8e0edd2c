"""The positive control: keep every member."""

import torch
from torch import Tensor

from benchmark.models.classifier import Classifier
from benchmark.models.memoriser import StoredMembers
from benchmark.regimes.regime import Regime, to_float
from benchmark.spec import SpecError
from benchmark.trials.training_progress import UNKEPT, Progress


class Memorise(Regime):
    """Store the members in the model; only for the architecture `memoriser`."""

    SOURCE = "positive control"

    def fit(
        self,
        model: Classifier,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator,
        progress: Progress = UNKEPT,
    ) -> list[float]:
        if not isinstance(model, StoredMembers):
            raise SpecError("the regime 'memorise' needs the architecture 'memoriser'")
        model.memorise(to_float(images), labels)
        model.eval()
        return []
