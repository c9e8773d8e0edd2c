"""How high is this margin for an image like this one? Learnt from auxiliary images, without any shadow model."""

from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import one_hot

from benchmark.membership.attack import MembershipAttack
from benchmark.membership.queries import margins_of
from benchmark.membership.signals import Images, Shadows, Signals

PENALTIES = tuple(10.0**k for k in range(-2, 6))
"""Of the ridge regressions, on standardised inputs; chosen by leave-one-out error."""


class Quantile(MembershipAttack):
    """Where the margin lies in the conditional distribution of non-members' margins, given features and label.

    The margins of the auxiliary images under the target, all of them non-members, are regressed on an evaluator's
    features and the label: a Gaussian with a mean and a standard deviation for each image. The score is
    (margin - mean) / deviation, the quantile on a scale without end. Several queries are averaged first.
    Deviation: the source trains a network on images by the Gaussian likelihood or the pinball loss; here ridge
    regression gives the mean, and a second one of the log of squared leave-one-out residuals the deviation, up to a
    factor that all images share.
    """

    SOURCE = "Bertran et al. 2023, Scalable Membership Inference Attacks via Quantile Regression (arXiv 2307.03694)"
    TOLD_IF_SET = ("min_images",)
    needs_features = True

    min_images: Annotated[int, Field(ge=10, le=1_000_000_000)] = 50

    def scores(self, target: Signals, shadows: Shadows, images: Images) -> Tensor:
        """(P,) float64. Raises ValueError for fewer than `min_images` auxiliary images."""
        known = margins_of(target._replace(margins=target.auxiliary), "images").mean(-1)
        if len(known) < self.min_images:
            raise ValueError(f"quantile: {len(known)} auxiliary images; allowed: at least {self.min_images}")
        num_classes = int(max(images.labels.max(), images.auxiliary_labels.max())) + 1
        ridge = Ridge(_inputs(images.auxiliary_features, images.auxiliary_labels, num_classes))
        asked = _inputs(images.features, images.labels, num_classes)
        fit = ridge.fit(known)
        # A margin that is met by chance would have a log of minus infinity.
        squares = fit.left_out.square()
        logs = squares.clamp(min=max(1e-3 * float(squares.mean()), 1e-12)).log()
        spread = (ridge.predict(asked, ridge.fit(logs)).clamp(logs.min(), logs.max()) / 2).exp()
        return (margins_of(target, "images").mean(-1) - ridge.predict(asked, fit)) / spread


def _inputs(features: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """(N, K + C) float64: features and label."""
    return torch.cat([features.double(), one_hot(labels, num_classes).double()], dim=1)


class Fit(NamedTuple):
    """intercept: (). slopes: (D,) of standardised inputs. left_out: (N,), residuals of fits without the row itself."""

    intercept: Tensor
    slopes: Tensor
    left_out: Tensor


class Ridge:
    """Ridge regressions of several targets on inputs x: (N, D) float64, which are decomposed once."""

    def __init__(self, x: Tensor) -> None:
        self.centre, spread = x.mean(0), x.std(0, correction=0)
        self.scale = spread.where(spread > 0, 1.0)
        self._u, self._s, self._vt = torch.linalg.svd((x - self.centre) / self.scale, full_matrices=False)

    def fit(self, y: Tensor) -> Fit:
        """Of y: (N,), with the penalty of `PENALTIES` that has the smallest leave-one-out error."""
        intercept = y.mean()
        projected, best, least = self._u.T @ (y - intercept), None, torch.inf
        for penalty in PENALTIES:
            shrunk = self._s.square() / (self._s.square() + penalty)
            leverage = self._u.square() @ shrunk + 1 / len(y)
            left_out = (y - intercept - self._u @ (shrunk * projected)) / (1 - leverage).clamp(min=1e-9)
            if (error := float(left_out.square().mean())) < least:
                slopes = self._vt.T @ (self._s / (self._s.square() + penalty) * projected)
                best, least = Fit(intercept, slopes, left_out), error
        assert best is not None, y
        return best

    def predict(self, x: Tensor, fit: Fit) -> Tensor:
        """(M,) of x: (M, D)."""
        return fit.intercept + (x - self.centre) / self.scale @ fit.slopes
