"""`MembershipAttack`: what every membership attack provides, and how its threshold is chosen from other replicas."""

from typing import NamedTuple, Protocol

from torch import Tensor

from benchmark import stats


class Inference(NamedTuple):
    """Membership scores of the P private images under one replica.

    scores: (P,), higher = more likely a member. threshold: `score > threshold` says member; None where it
    could not be set without the evaluated replica, and then `note` says why.
    """

    scores: Tensor
    threshold: float | None
    note: str | None = None


class MembershipAttack(Protocol):
    """A method of membership inference. Its class is a Spec."""

    def infer(self, losses: Tensor, is_member: Tensor, replica: int) -> Inference:
        """Score every private image under `replica`.

        losses: (R, P) of every image under every replica. is_member: (R, P) bool. An attack may read the
        rows of is_member of the other replicas (its shadow models), never that of `replica`.
        """
        ...


def threshold_of_others(scores: Tensor, is_member: Tensor, replica: int) -> tuple[float | None, str | None]:
    """(threshold, None) of best balanced accuracy on all replicas but one, or (None, why there is none).

    scores: (R, P), each row made without knowledge of row `replica` of is_member: (R, P) bool.
    """
    assert scores.ndim == 2 and scores.shape == is_member.shape, (scores.shape, is_member.shape)
    assert 0 <= replica < len(scores), (replica, len(scores))
    if len(scores) < 2:
        return None, "a threshold must come from other replicas, and there is 1 replica"
    others = [r for r in range(len(scores)) if r != replica]
    return stats.best_threshold(scores[others].flatten().numpy(), is_member[others].flatten().numpy()), None
