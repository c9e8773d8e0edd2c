"""A running mean of a network's weights, which is often a better model than the last weights are."""

import copy

import torch
from torch import Tensor

from benchmark.models.classifier import Classifier


class AveragedWeights:
    """Exponential moving average: weights of `age` steps before count `decay` to the power of `age`, with sum 1.

    The sum is over the steps that were taken alone, so that fresh weights never count, however short the training is.
    Batch norm's statistics are averaged alike. Izmailov et al. 2018 (arXiv 1803.05407) average equally; the exponential
    form is that of Gowal et al. 2020 (arXiv 2010.03593, Sec. 4.3), whose mean begins at the fresh weights.
    """

    def __init__(self, model: Classifier, decay: float) -> None:
        self._decay, self._from, self.model = decay, model, copy.deepcopy(model)
        self.model.eval()

    @torch.no_grad()
    def take_in(self, step: int) -> None:
        """Count the weights after this step, the first of which is 0."""
        share = (1 - self._decay) / (1 - self._decay ** (step + 1))
        means, values = self.model.state_dict(), self._from.state_dict()
        whole = [name for name, mean in means.items() if not mean.is_floating_point()]
        for name in whole:
            means.pop(name).copy_(values[name])
        own: list[Tensor] = list(means.values())
        torch._foreach_lerp_(own, [values[name] for name in means], share)
