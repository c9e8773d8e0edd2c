"""`MembershipAttack`: what every membership attack provides, and how its threshold is chosen from other replicas."""

import math
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from benchmark import stats
from benchmark.membership.signals import Images, Shadows, Signals
from benchmark.reading.text import shown
from benchmark.spec import Spec, SpecError
from benchmark.user_files.returned import check_tensor, described


class Inference(NamedTuple):
    """Membership scores of the P private images under one replica.

    scores: (P,), higher = more likely a member. threshold: `score > threshold` says member; None where it
    could not be set without the evaluated replica, and then `note` says why.
    """

    scores: Tensor
    threshold: float | None
    note: str | None = None


class MembershipAttack(Spec):
    """A method of membership inference."""

    num_pairs: ClassVar[int] = 0
    """Pairs of shadow models that it needs at least, besides the target's own."""
    needs_adversarial: ClassVar[bool] = False

    def scores(self, target: Signals, shadows: Shadows, images: Images) -> Tensor:
        """(P,) float64 of the P private images, higher = more likely a member."""
        raise NotImplementedError

    def infer(self, losses: Tensor, is_member: Tensor, replica: int) -> Inference:
        """Score every private image under `replica`.

        losses: (R, P) of every image under every replica. is_member: (R, P) bool. An attack may read the
        rows of is_member of the other replicas (its shadow models), never that of `replica`.
        """
        raise NotImplementedError


def checked(found: object, num_images: int, method: str) -> Inference:
    """What `infer` returned, its scores in float64. method: "membership 'mine'".

    Raises SpecError if it is none of its kind, FloatingPointError for scores that are no numbers.
    """
    if not isinstance(found, Inference):
        raise SpecError(f"{method}: infer returned {described(found)}; allowed: Inference(scores, threshold)")
    what, scores = f"{method}: infer returned scores", found.scores
    if isinstance(scores, Tensor) and scores.is_floating_point():
        scores = scores.double()
    check_tensor(scores, what, (num_images,), torch.float64)
    if bad := int((~scores.isfinite()).sum()):
        raise FloatingPointError(f"{what}: NaN or infinity for {bad} of {num_images} images; allowed: finite numbers")
    threshold: object = found.threshold
    if threshold is not None and not (isinstance(threshold, int | float) and math.isfinite(threshold)):
        raise SpecError(f"{method}: infer returned a threshold: {shown(threshold)}; allowed: a finite number, or None")
    return found._replace(scores=scores)


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
