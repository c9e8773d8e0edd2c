"""LiRA for few shadow models: each image's mean and variance are uncertain, and the other images say how much."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from benchmark.membership.lira import log_normal
from benchmark.membership.queries import AttackOnSignal, Count, margins_of
from benchmark.membership.sides import Side, both_sides, pooled_variances
from benchmark.membership.signals import Images, Shadows, Signals

_MOST = 1e6
"""No prior weighs more than this many models."""


class BaVarIA(AttackOnSignal):
    """Likelihood ratio of margins under normal-inverse-gamma priors, one a side and query, for few shadow models.

    mean and variance of an image ~ NIG(m0, k0, a0, b0), updated by the image's shadow models of that side; the score is
    the log ratio of the predictive densities of the target's margin, summed over queries: Student's t, or a Gaussian
    with the posterior means of mean and variance. The prior comes from all images by moments: m0 is the average mean,
    b0 / (a0 - 1) the pooled variance, k0 that variance over the variance between images, and a0 makes the spread of
    the images' own variances what was seen. An image that no model of one side knows gets that side's prior.
    Deviation: we could read the source's abstract and introduction only, which name the conjugate prior, both
    predictive densities and that nothing is tuned; how it sets the prior we do not know, and chose moments.
    """

    SOURCE = "Brännvall 2026, Exponential-Family Membership Inference: From LiRA and RMIA to BaVarIA (arXiv 2603.11799)"
    TOLD_IF_SET = ("predictive", "signal", "queries")
    num_pairs = 2

    predictive: Literal["student", "gaussian"] = "student"
    queries: Count = None

    def scores(self, target: Signals, shadows: Shadows, images: Images) -> Tensor:
        """(P,) float64. Raises ValueError without shadow models of both sides, or without the queries of `signal`."""
        margins = margins_of(target, self.signal, self.queries)
        sides = both_sides(margins_of(shadows.signals, self.signal, self.queries), shadows)
        log_in, log_out = (
            self._log_density(margins, _posterior(side, variance))
            for side, variance in zip(sides, pooled_variances(*sides), strict=True)
        )
        return (log_in - log_out).sum(-1)

    def _log_density(self, x: Tensor, of: "_NIG") -> Tensor:
        if self.predictive == "gaussian":
            return log_normal(x, of.mean, of.scale / (of.shape - 1))
        return log_student(x, 2 * of.shape, of.mean, of.scale / of.shape * (1 + 1 / of.weight))


def log_student(x: Tensor, freedom: Tensor, mean: Tensor, squared_scale: Tensor) -> Tensor:
    """Log density of Student's t, elementwise."""
    constant = torch.lgamma((freedom + 1) / 2) - torch.lgamma(freedom / 2)
    distance = (x - mean).square() / squared_scale / freedom
    return constant - (freedom * torch.pi * squared_scale).log() / 2 - (freedom + 1) / 2 * distance.log1p()


class _NIG(NamedTuple):
    """mean | variance ~ N(mean, variance / weight), variance ~ inverse gamma (shape, scale); (P, Q) or (Q,) each."""

    mean: Tensor
    weight: Tensor
    shape: Tensor
    scale: Tensor


def _prior(side: Side, variance: Tensor) -> _NIG:
    """By moments over the images that have models of this side. variance: (Q,), the pooled one."""
    known = side.models.squeeze(-1) > 0
    count, means = side.models[known], side.mean[known]
    between = means.var(0, correction=0) - variance * (1 / count).mean()
    weight = (variance / between.clamp(min=0)).clamp(1 / _MOST, _MOST)
    # E[s^4] = E[variance]^2 (1 + 2 / freedom) (shape - 1) / (shape - 2) for an image's own variance s^2.
    freedom = side.freedom[side.freedom.squeeze(-1) > 0]
    own = side.squares[side.freedom.squeeze(-1) > 0] / freedom
    spread = (own.square() / (1 + 2 / freedom)).mean(0) / variance.square()
    shape = 2 + 1 / (torch.nan_to_num(spread, nan=1.0) - 1).clamp(min=1 / _MOST)
    return _NIG(means.mean(0), weight, shape, variance * (shape - 1))


def _posterior(side: Side, variance: Tensor) -> _NIG:
    prior = _prior(side, variance)
    weight = prior.weight + side.models
    off = side.mean - prior.mean
    return _NIG(
        prior.mean + off * side.models / weight,
        weight,
        prior.shape + side.models / 2,
        prior.scale + (side.squares + prior.weight * side.models / weight * off.square()) / 2,
    )
