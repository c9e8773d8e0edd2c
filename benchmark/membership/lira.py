"""LiRA: is this margin likelier from models that trained on the image, or from models that never saw it?"""

import math
from typing import Literal

from torch import Tensor
from torch.special import log_ndtr

from benchmark.membership.queries import AttackOnSignal, Count, margins_of
from benchmark.membership.sides import Side, both_sides, pooled_variances
from benchmark.membership.signals import Images, Shadows, Signals

FEW_MODELS = 64
"""Below this many shadow models one variance serves all images (Carlini et al. 2022, Sec. VI)."""
_SMALLEST = 1e-6
"""No image's own variance is below this share of the pooled one."""


class LiRA(AttackOnSignal):
    """Likelihood-ratio attack: a Gaussian of the margin for each image, with and without it in the training data.

    online: log N(x; in) - log N(x; out), summed over the queries. offline: how far x lies above the OUT models alone,
    -log Pr[N(out) > x], summed over the queries (Fisher's way of combining p-values). Queries count as independent.
    Deviations: the authors' code takes medians where the paper and we take means; its one variance for all images is
    that of all margins, ours is the one around each image's own mean; it averages over queries, which orders images
    alike. Images that no model of one side knows, see `both_sides`.
    """

    SOURCE = "Carlini et al. 2022, Membership Inference Attacks From First Principles (arXiv 2112.03570)"
    TOLD_IF_SET = ("mode", "variance", "signal", "queries")
    num_pairs = 2

    mode: Literal["online", "offline"] = "online"
    variance: Literal["auto", "one", "per_image"] = "auto"
    queries: Count = None

    def scores(self, target: Signals, shadows: Shadows, images: Images) -> Tensor:
        """(P,) float64. Raises ValueError without shadow models of both sides, or without the queries of `signal`."""
        margins = margins_of(target, self.signal, self.queries)
        values = margins_of(shadows.signals, self.signal, self.queries)
        inside, outside = both_sides(values, shadows)
        one_in, one_out = pooled_variances(inside, outside)
        if self.variance == "per_image" or (self.variance == "auto" and len(values) >= FEW_MODELS):
            one_in, one_out = _own_variance(inside, one_in), _own_variance(outside, one_out)
        if self.mode == "offline":
            log_tail: Tensor = log_ndtr((outside.mean - margins) / one_out.sqrt())
            return -log_tail.sum(-1)
        return (log_normal(margins, inside.mean, one_in) - log_normal(margins, outside.mean, one_out)).sum(-1)


def log_normal(x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """Log density of the normal distribution, elementwise."""
    return -((x - mean).square() / variance + variance.log() + math.log(2 * math.pi)) / 2


def _own_variance(side: Side, pooled: Tensor) -> Tensor:
    """(P, Q): unbiased variance of each image, the pooled one where the image has fewer than two models."""
    own = (side.squares / side.freedom.clamp(min=1)).maximum(_SMALLEST * pooled)
    return own.where(side.freedom > 0, pooled)
