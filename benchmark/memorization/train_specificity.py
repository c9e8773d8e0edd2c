"""Do reconstructions show the members, or just the class? Nearest members against nearest non-members.

`s_in` and `s_out` are the largest cosines of each reconstruction to the member and non-member galleries,
which are equally large; column 0 of the neighbors' cosines.
"""

import torch
from torch import Tensor

from benchmark.memorization.recut import TIE


def in_wins(s_in: Tensor, s_out: Tensor) -> Tensor:
    """(N,) 1 where the nearest member is closer than the nearest non-member, 0 where not, 0.5 for a tie.

    s_in, s_out: (N,). Their mean is `in_rate`, whose null value is 0.5.
    """
    gap = memorization_gap(s_in, s_out)
    return torch.where(gap.abs() <= TIE, 0.5, (gap > 0).double())


def memorization_gap(s_in: Tensor, s_out: Tensor) -> Tensor:
    """(N,) s_in - s_out. Null value 0."""
    assert s_in.ndim == 1 and s_in.shape == s_out.shape, (s_in.shape, s_out.shape)
    return s_in.double() - s_out.double()


def distance_ratio(s_in: Tensor, s_out: Tensor) -> tuple[float | None, str | None]:
    """(mean d_in / mean d_out, None) with d = 1 - cosine, or (None, why it is empty). Null value 1.

    s_in, s_out: (N,), N >= 1. Below 1: closer to members.
    """
    assert s_in.ndim == 1 and s_in.shape == s_out.shape and len(s_in) > 0, (s_in.shape, s_out.shape)
    d_in, d_out = (float((1 - s.double()).clamp(min=0).mean()) for s in (s_in, s_out))
    if d_out <= TIE:
        return None, f"reconstructions lie on non-members: their mean cosine distance is {d_out:.1e}"
    return d_in / d_out, None


def neighbour_purity_at_k(neighbor_labels: Tensor, target_labels: Tensor) -> Tensor:
    """(N,) share of the k nearest members that carry the target label.

    neighbor_labels: (N, k). target_labels: (N,).
    """
    assert neighbor_labels.ndim == 2 and neighbor_labels.shape[0] == len(target_labels), neighbor_labels.shape
    return (neighbor_labels == target_labels[:, None]).double().mean(dim=1)


def exposure_counts(nearest_ids: Tensor, member_ids: Tensor) -> Tensor:
    """(M,) int64: how many reconstructions have each member as their nearest.

    nearest_ids: (N,) image ids, all of them members. member_ids: (M,) distinct ids in any order, which is
    the order of the result.
    """
    ordered, order = member_ids.sort()
    position = torch.searchsorted(ordered, nearest_ids.contiguous()).clamp(max=len(ordered) - 1)
    assert bool((ordered[position] == nearest_ids).all()), "a nearest image is not a member"
    return torch.bincount(order[position], minlength=len(member_ids))


def gini(counts: Tensor) -> float:
    """Gini coefficient of non-negative counts: 0 where all are equal, 1 - 1/M where one image has them all.

    counts: (M,). N reconstructions touch at most N images, so it is at least 1 - N/M: compare it only at
    equal N and M. Raises ValueError if all counts are zero.
    """
    ordered = _counted(counts).sort().values
    m = len(ordered)
    rank = torch.arange(1, m + 1, dtype=torch.float64)
    return float(((2 * rank - m - 1) * ordered).sum() / (m * ordered.sum()))


def effective_number(counts: Tensor) -> float:
    """As many images, evenly exposed: exp of the Shannon entropy of the shares (Hill number of order 1).

    counts: (M,). 1 where one image has them all, M where all are equal. Raises ValueError if all are zero.
    """
    values = _counted(counts)
    share = values[values > 0] / values.sum()
    return float(torch.exp(-(share * share.log()).sum()))


def _counted(counts: Tensor) -> Tensor:
    assert counts.ndim == 1 and bool((counts >= 0).all()), counts.shape
    if not bool((counts > 0).any()):
        raise ValueError(f"counts of {len(counts)} images are all zero; allowed: at least one exposed image")
    return counts.double()
