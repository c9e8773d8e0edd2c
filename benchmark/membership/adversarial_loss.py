"""Membership from the loss of an adversarial version: robust models fit the neighbourhood of members, too."""

from torch import Tensor

from benchmark.membership.attack import MembershipAttack
from benchmark.membership.queries import margins_of
from benchmark.membership.signals import Images, Shadows, Signals


class AdversarialLoss(MembershipAttack):
    """The margin on an adversarial version of the image; of several, on the one that fools the model most.

    Needs no shadow models. Deviation: the source thresholds the confidence in the true class, class by class; the
    margin orders images alike, and one threshold serves all classes.
    """

    SOURCE = "Song, Shokri and Mittal 2019, Privacy Risks of Securing ML Models ... (arXiv 1905.10291)"
    needs_adversarial = True

    def scores(self, target: Signals, shadows: Shadows, images: Images) -> Tensor:
        """(P,) float64. Raises ValueError without adversarial versions."""
        return margins_of(target, "adversarial").amin(-1)
