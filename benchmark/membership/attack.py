"""`MembershipAttack`: what every membership attack provides."""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from benchmark.membership.signals import Images, Shadows, Signals
from benchmark.spec import Spec
from benchmark.user_files.returned import check_tensor


class MembershipAttack(Spec):
    """A method of membership inference: a score an image. Thresholds, rates and the choice of the strongest attack are
    the stage's, from shadow models, alike for all attacks.

    num_pairs: pairs of shadow models that it needs at least, besides the target's own pair. needs_adversarial: whether
    it reads adversarial versions of the images, which cost far more than the images. needs_features: whether it reads
    features, or anything else of `Images` but the private images' labels.
    """

    num_pairs: ClassVar[int] = 0
    needs_adversarial: ClassVar[bool] = False
    needs_features: ClassVar[bool] = False

    @abstractmethod
    def scores(self, target: Signals, shadows: Shadows, images: Images) -> Tensor:
        """(P,) float64, higher = more likely a member of the target's training data.

        target: of one model, margins (P, Q). shadows: S models, S may be 0 where `num_pairs` is; neither the target nor
        its mate, whose members are the target's non-members, is among them.
        """


def checked(found: object, num_images: int, method: str) -> Tensor:
    """What `scores` returned, in float64. method: "membership 'mine'".

    Raises SpecError if it is none of its kind, FloatingPointError for scores that are no numbers.
    """
    if isinstance(found, Tensor) and found.is_floating_point():
        found = found.double()
    scores = check_tensor(found, f"{method}: scores returned", (num_images,), torch.float64)
    if bad := int((~scores.isfinite()).sum()):
        raise FloatingPointError(
            f"{method}: scores returned NaN or infinity for {bad} of {num_images} images; allowed: finite numbers"
        )
    return scores
