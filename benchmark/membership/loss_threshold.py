"""Membership from the loss: an image the model fits well is called a member."""

from torch import Tensor

from benchmark.membership.attack import MembershipAttack
from benchmark.membership.signals import Images, Shadows, Signals


class LossThreshold(MembershipAttack):
    """Loss-threshold membership inference: the score is the margin of the image itself.

    The cross-entropy is log(1 + exp(-margin)), so images are in the order of their losses, and those whose losses
    round to 0 stay apart. Deviation from the source: its threshold is the mean training loss, which only the model's
    owner knows; here it comes from shadow models.
    """

    SOURCE = "Yeom et al. 2018, Privacy Risk in Machine Learning (arXiv 1709.01604)"

    def scores(self, target: Signals, shadows: Shadows, images: Images) -> Tensor:
        return target.margins[:, 0]
