"""How high is this margin for an image like this one? Learnt from auxiliary images, without any shadow model."""

from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import one_hot

from benchmark.membership.attack import MembershipAttack
from benchmark.membership.queries import margins_of
from benchmark.membership.signals import Images, Shadows, Signals

Array = npt.NDArray[np.float64]
FOLDS = 5
STRENGTHS = tuple(10.0**k for k in range(-2, 6))
"""Ridge penalties, chosen by leave-one-out error."""


class Quantile(MembershipAttack):
    """Where the margin lies in the conditional distribution of non-members' margins, given features and label.

    The margins of the auxiliary images under the target, all of them non-members, are regressed on an evaluator's
    features and the label: a Gaussian with a mean and a standard deviation for each image. The score is
    (margin - mean) / deviation, the quantile on a scale without end. Several queries are averaged first.
    Deviation: the source trains a network on images by the Gaussian likelihood or the pinball loss; here ridge
    regression gives the mean, and a second one of the log of squared held-out residuals the deviation.
    """

    SOURCE = "Bertran et al. 2023, Scalable Membership Inference Attacks via Quantile Regression (arXiv 2307.03694)"
    TOLD_IF_SET = ("min_images",)

    min_images: Annotated[int, Field(ge=2 * FOLDS)] = 50

    def scores(self, target: Signals, shadows: Shadows, images: Images) -> Tensor:
        """(P,) float64. Raises ValueError for fewer than `min_images` auxiliary images."""
        known = margins_of(target._replace(margins=target.auxiliary), "images").mean(-1).numpy()
        if len(known) < self.min_images:
            raise ValueError(f"quantile: {len(known)} auxiliary images; allowed: at least {self.min_images}")
        num_classes = int(max(images.labels.max(), images.auxiliary_labels.max())) + 1
        train = _inputs(images.auxiliary_features, images.auxiliary_labels, num_classes)
        asked = _inputs(images.features, images.labels, num_classes)
        mean, deviation = _fitted(train, known, asked)
        margins = margins_of(target, "images").mean(-1).numpy()
        return torch.from_numpy((margins - mean) / deviation)


def _inputs(features: Tensor, labels: Tensor, num_classes: int) -> Array:
    """(N, K + C) float64: features and label."""
    return torch.cat([features.double(), one_hot(labels, num_classes).double()], dim=1).numpy()


def _fitted(train: Array, margins: Array, asked: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of a non-member's margin for every row of `asked`."""
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import KFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    regression = make_pipeline(StandardScaler(), RidgeCV(STRENGTHS))
    folds = KFold(FOLDS, shuffle=True, random_state=0)
    residuals = np.square(margins - cross_val_predict(regression, train, margins, cv=folds))
    # A margin that is met by chance would have a log of minus infinity.
    typical = residuals.mean()
    if typical == 0:
        return regression.fit(train, margins).predict(asked), np.ones(len(asked))
    logs = np.log(residuals.clip(min=1e-3 * typical))
    spread = np.exp(regression.fit(train, logs).predict(asked).clip(logs.min(), logs.max()) / 2)
    return regression.fit(train, margins).predict(asked), spread
