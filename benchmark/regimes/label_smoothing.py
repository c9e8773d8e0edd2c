"""Training on softened labels, or on labels that are harder than certain."""

from pydantic import Field
from torch import Tensor
from torch.nn import functional

from benchmark.regimes.regime import Network, SupervisedTraining
from benchmark.spec import Fraction


class LabelSmoothing(SupervisedTraining):
    """Cross-entropy with the label (1 - smoothing) one_hot + smoothing / num_classes.

    smoothing: positive ones keep a model from being sure (Szegedy et al. 2016), negative ones make it surer than a
    label says, and lower what model inversion shows (Struppek et al. 2024). With a negative one the loss has no lower
    bound: only weight decay holds the logits, the loss may be below 0, and with a strong one it may end as infinity.
    """

    SOURCE = (
        "Szegedy et al. 2016, arXiv 1512.00567, Sec. 7; negative: Wei et al. 2022, arXiv 2106.04149, "
        "Struppek et al. 2024, arXiv 2310.06549"
    )
    TOLD = ("smoothing",)
    smoothing: Fraction = Field(ge=-1_000, lt=1)

    def loss(self, network: Network, clean: Tensor, perturbed: Tensor, labels: Tensor) -> Tensor:
        log_probabilities = network(perturbed).float().log_softmax(1)
        even = -log_probabilities.mean(1).mean()
        return (1 - self.smoothing) * functional.nll_loss(log_probabilities, labels) + self.smoothing * even
