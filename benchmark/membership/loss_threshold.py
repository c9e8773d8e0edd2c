"""Membership from the loss: an image the model fits well is called a member."""

from torch import Tensor

from benchmark.membership.attack import Inference, MembershipAttack, threshold_of_others


class LossThreshold(MembershipAttack):
    """Loss-threshold membership inference.

    Deviation from the source: its threshold is the mean training loss, which only the model's owner
    knows; here it is the threshold of best balanced accuracy on the other replicas.
    """

    SOURCE = "Yeom et al. 2018, Privacy Risk in Machine Learning (arXiv 1709.01604)"

    def scores(self, losses: Tensor) -> Tensor:
        """-losses, any shape: higher = more likely a member."""
        return -losses

    def infer(self, losses: Tensor, is_member: Tensor, replica: int) -> Inference:
        """Scores (P,) under `replica`, with the threshold of the other replicas.

        losses: (R, P) cross-entropy of every private image under every replica. is_member: (R, P) bool.
        """
        scores = self.scores(losses)
        return Inference(scores[replica], *threshold_of_others(scores, is_member, replica))
