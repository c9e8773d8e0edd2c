"""Functions that entries of `METRICS` name in tests."""

import numpy as np
import numpy.typing as npt
from torch import Tensor

from benchmark.stats import Interval, Scored

Cube = npt.NDArray[np.float64]


def frechet(found: Tensor, members: Tensor) -> float:
    """Frechet distance of two Gaussians with diagonal covariance: (n, K) and (m, K)."""
    mean = (found.mean(0) - members.mean(0)).square().sum()
    spread = (found.std(0, correction=0) - members.std(0, correction=0)).square().sum()
    return float(mean + spread)


def highest(replicas: list[Scored]) -> Interval:
    """How often the highest score is a member's."""
    hits = [bool(replica.is_member[replica.scores.argmax()]) for replica in replicas]
    return Interval(float(np.mean(hits)), 0.0, 1.0, len(hits))
