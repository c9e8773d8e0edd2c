"""The loss of an image, less what models lose that never saw it."""

from torch import Tensor
from torch.nn.functional import logsigmoid

from benchmark.membership.queries import AttackOnSignal, margins_of
from benchmark.membership.sides import both_sides
from benchmark.membership.signals import Images, Shadows, Signals


class CalibratedLoss(AttackOnSignal):
    """Difficulty calibration: log p(x | target) minus the mean of log p(x | model) over the OUT shadow models.

    log p = log sigmoid(margin) is minus the cross-entropy; the mean over queries is taken of both.
    Deviation: the source trains its reference models on other data; ours are the shadow models that never saw the
    image. Images that every shadow model saw, see `both_sides`.
    """

    SOURCE = "Watson et al. 2022, On the Importance of Difficulty Calibration in MIA (arXiv 2111.08440)"
    TOLD_IF_SET = ("signal",)
    num_pairs = 1

    def scores(self, target: Signals, shadows: Shadows, images: Images) -> Tensor:
        """(P,) float64. Raises ValueError without shadow models of both sides, or without the queries of `signal`."""
        _, outside = both_sides(logsigmoid(margins_of(shadows.signals, self.signal)), shadows)
        return (logsigmoid(margins_of(target, self.signal)) - outside.mean).mean(-1)
