"""Adversarial training with one step from a random start, and an eye on its collapse."""

from pydantic import Field
from torch import Tensor

from benchmark.regimes.epochs import Guard
from benchmark.regimes.pgd_at import PGDAdversarialTraining
from benchmark.regimes.watched import Watched
from benchmark.spec import Fraction

_NUM_GUARDED, _GUARD_STEPS = 200, 10


class FGSMRandomStart(PGDAdversarialTraining):
    """`pgd_at` with one step of 1.25 epsilon from a uniform point of the ball.

    Such a training may overfit to the one step within an epoch, and under PGD no robustness is left: "catastrophic
    overfitting". So after each epoch PGD-10 attacks 200 training images, evenly spaced. Where their robust accuracy is
    more than `collapse` below the highest of an earlier epoch, the training ends with the weights of the epoch before,
    and the row `catastrophic_overfitting` says so. Differs: the authors look at one batch with PGD-5 and compare with
    the epoch before alone; their step sees the network in training mode.
    """

    SOURCE = "Wong et al. 2020, Fast is better than free: Revisiting adversarial training, arXiv 2001.03994"
    TOLD = ("norm", "epsilon")
    steps: int = Field(default=1, ge=1, le=1)
    collapse: Fraction = Field(default=0.2, gt=0, le=1)

    @property
    def chosen_step_size(self) -> float:
        return self.step_size or 1.25 * self.epsilon

    @property
    def further_passes(self) -> float:
        return super().further_passes + self.epochs * _NUM_GUARDED * (_GUARD_STEPS + 1 / 3)

    def guard(self, images: Tensor, labels: Tensor) -> Guard:
        every = max(1, len(images) // _NUM_GUARDED)
        some = images[::every][:_NUM_GUARDED], labels[::every][:_NUM_GUARDED]
        return Guard(Watched(*some, self.adversary, _GUARD_STEPS), self.collapse)
