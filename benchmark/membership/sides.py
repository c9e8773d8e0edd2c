"""What shadow models say of an image when they trained on it, and when they never saw it."""

from typing import NamedTuple

import torch
from torch import Tensor

from benchmark.membership.signals import Shadows


class Side(NamedTuple):
    """Moments over the shadow models of one side.

    models: (P, 1) float64, how many are of this side. mean: (P, Q), 0 where none is.
    squares: (P, Q), sum of squared deviations from the mean.
    """

    models: Tensor
    mean: Tensor
    squares: Tensor

    @property
    def freedom(self) -> Tensor:
        """Degrees of freedom (P, 1) of `squares`: models - 1, at least 0."""
        return (self.models - 1).clamp(min=0)

    @property
    def pooled_variance(self) -> Tensor:
        """(Q,): the variance around each image's own mean, one for all images; NaN if no image has two models."""
        return self.squares.sum(0) / self.freedom.sum(0)


def side_of(values: Tensor, belongs: Tensor) -> Side:
    """Moments of values: (S, P, Q) float64 over the models that belongs: (S, P) bool names for each image."""
    weight = belongs.to(values.dtype).unsqueeze(-1)
    count = weight.sum(0)
    mean = (values * weight).sum(0) / count.clamp(min=1)
    return Side(count, mean, ((values - mean).square() * weight).sum(0))


def both_sides(values: Tensor, shadows: Shadows) -> tuple[Side, Side]:
    """(inside, outside) of values: (S, P, Q): models that trained on an image, and that never saw it or its double.

    An image that no model of one side knows gets that side's mean from the other side, plus the average difference of
    the two over the images that have both; an image without any gets the averages over images. Its `models` stay 0.
    Raises ValueError if a side has no model for any image.
    """
    inside, outside = side_of(values, shadows.trained_on), side_of(values, shadows.never_seen)
    for side, name in (inside, "trained on"), (outside, "never saw"):
        if not side.models.any():
            raise ValueError(f"no shadow model {name} any of the images; allowed: at least one pair of shadow models")
    has_in, has_out = inside.models > 0, outside.models > 0
    typical_in, typical_out = _mean(inside.mean, has_in), _mean(outside.mean, has_out)
    both = has_in & has_out
    gain = _mean(inside.mean - outside.mean, both) if both.any() else typical_in - typical_out
    mean_out = outside.mean.where(has_out, (inside.mean - gain).where(has_in, typical_out))
    mean_in = inside.mean.where(has_in, (outside.mean + gain).where(has_out, typical_in))
    return inside._replace(mean=mean_in), outside._replace(mean=mean_out)


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    """(Q,): mean of values: (P, Q) over the images that chosen: (P, 1) names."""
    weight = chosen.to(values.dtype)
    return (values * weight).sum(0) / weight.sum(0)


def pooled_variances(inside: Side, outside: Side) -> tuple[Tensor, Tensor]:
    """((Q,), (Q,)): the variance of each side, positive.

    A side that has no image with two models takes the other's; with neither, 1.
    """
    found_in, found_out = inside.pooled_variance, outside.pooled_variance
    return _usable(found_in.where(found_in.isfinite(), found_out)), _usable(
        found_out.where(found_out.isfinite(), found_in)
    )


def _usable(variance: Tensor) -> Tensor:
    # Models that agree in every digit have no variance: what is left is a limit, and scores are in the right order.
    return torch.nan_to_num(variance, nan=1.0).clamp(min=1e-12)
