"""ROC measures of membership scores. Everywhere a higher score means member: `score > threshold` says member."""

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def auc(scores: npt.ArrayLike, is_member: npt.ArrayLike) -> float:
    """P(score of a member > score of a non-member), ties one half. Null value 0.5.

    scores: (N,). is_member: (N,) bool. Raises ValueError if either side is empty or a score is not finite.
    """
    over_non_members, _ = placements(*split(scores, is_member))
    return float(over_non_members.mean())


def tpr_at_fpr(scores: npt.ArrayLike, is_member: npt.ArrayLike, fpr: float) -> float:
    """True-positive rate at a fixed false-positive rate (Carlini et al. 2022, Sec. III).

    scores: (N,), higher = more likely a member. is_member: (N,) bool. fpr: in (0, 1).
    The threshold is the lowest that no more than fpr of the non-members exceed; scores tied with it are
    not called members, so the realised rate of false alarms is at most fpr.
    Raises ValueError if fpr < 1 / num_non_members: this data cannot resolve it.
    """
    members, non_members = split(scores, is_member)
    if not 0 < fpr < 1:
        raise ValueError(f"fpr is {fpr}; allowed: between 0 and 1")
    allowed = math.floor(fpr * len(non_members) + 1e-9)  # 0.29 * 100 is 28.999999999999996
    if allowed < 1:
        raise ValueError(
            f"fpr is {fpr}; allowed: at least 1/{len(non_members)}, the least that these non-members resolve"
        )
    threshold = np.sort(non_members)[-1 - min(allowed, len(non_members) - 1)]
    return float((members > threshold).mean())


def balanced_accuracy(scores: npt.ArrayLike, is_member: npt.ArrayLike, threshold: float) -> float:
    """Mean of the rates of members above and non-members not above the threshold. Null value 0.5.

    Raises ValueError as `auc` does.
    """
    members, non_members = split(scores, is_member)
    return float(((members > threshold).mean() + (non_members <= threshold).mean()) / 2)


def best_threshold(scores: npt.ArrayLike, is_member: npt.ArrayLike) -> float:
    """The threshold of highest balanced accuracy, half-way between two scores; the highest of equals.

    For use on other replicas than the evaluated one only. Where no threshold beats 0.5 it is the largest
    score, which calls nobody a member. Raises ValueError as `auc` does.
    """
    members, non_members = split(scores, is_member)
    steps = np.unique(np.concatenate([members, non_members]))[::-1]
    members_above = len(members) - np.searchsorted(np.sort(members), steps, side="right")
    false_alarms = len(non_members) - np.searchsorted(np.sort(non_members), steps, side="right")
    # Gain over 0.5, in units of 1 / (2 m n): whole numbers, so that equals compare equal.
    gain = members_above * len(non_members) - false_alarms * len(members)
    best = int(np.argmax(gain))
    if best == 0:
        return float(steps[0])
    below, next_up = float(steps[best]), float(steps[best - 1])
    return min(below + (next_up - below) / 2, math.nextafter(next_up, -math.inf))


def split(scores: npt.ArrayLike, is_member: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Scores of the members and of the non-members. Raises ValueError as `auc` does."""
    values, member = np.asarray(scores, dtype=np.float64), np.asarray(is_member)
    assert values.ndim == 1 and values.shape == member.shape, (values.shape, member.shape)
    assert member.dtype == np.bool_, member.dtype
    if not np.isfinite(values).all():
        raise ValueError(f"{int((~np.isfinite(values)).sum())} scores are NaN or infinite; allowed: finite scores")
    if not 0 < int(member.sum()) < len(member):
        raise ValueError(f"{int(member.sum())} of {len(member)} images are members; allowed: some, and not all")
    return values[member], values[~member]


def placements(members: Floats, non_members: Floats) -> tuple[Floats, Floats]:
    """Share of non-members below each member, and of members above each non-member."""
    return _share_below(members, non_members), 1 - _share_below(non_members, members)


def _share_below(values: Floats, others: Floats) -> Floats:
    """Share of `others` below each of `values`, ties one half."""
    ordered = np.sort(others)
    below = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    return np.asarray(below / (2 * len(others)), dtype=np.float64)
