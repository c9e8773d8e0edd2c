"""What margin attacks climb: numbers of the logits that rise as the true class loses its lead.

All take logits (N, K) and labels (N,) and give (N,); the attack succeeds about where they pass 0 (the log-odds: a
little before). Steps go along the direction of a gradient alone, and points are only compared by order: so a loss may
be replaced by another that rises with it, if that one's gradient does not vanish where the network is sure.
"""

from torch import Tensor
from torch.nn import functional

FEWEST_CLASSES = {"dlr": 3, "targeted_dlr": 4}
"""For which these are defined; of fewer the margin stands in for them."""
_NO_DIVISION_BY_ZERO = 1e-12


def _of(logits: Tensor, classes: Tensor) -> Tensor:
    """(N, K), (N,) -> (N,)."""
    return logits.gather(1, classes[:, None])[:, 0]


def _others(logits: Tensor, labels: Tensor) -> Tensor:
    """(N, K) with the logit of the true class at minus infinity."""
    return logits.float().scatter(1, labels[:, None], float("-inf"))


def log_odds(logits: Tensor, labels: Tensor) -> Tensor:
    """log((1 - p_y) / p_y), with p the softmax: cross-entropy is its softplus.

    So it rises and falls with cross-entropy and has the same direction of gradient, which does not underflow where p_y
    is 1 in float32.
    """
    return _others(logits, labels).logsumexp(1) - _of(logits.float(), labels)


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """max_{c != y} z_c - z_y."""
    return _others(logits, labels).amax(1) - _of(logits.float(), labels)


def dlr(logits: Tensor, labels: Tensor) -> Tensor:
    """Difference of logits ratio (Croce and Hein 2020): the margin over the gap from the largest to the third logit.

    Needs three classes; of two it is the margin itself, which is what the paper leaves open.
    """
    if logits.shape[1] < FEWEST_CLASSES["dlr"]:
        return margin(logits, labels)
    top = logits.float().topk(3, dim=1).values
    return margin(logits, labels) / (top[:, 0] - top[:, 2] + _NO_DIVISION_BY_ZERO)


def targeted_dlr(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """Targeted difference of logits ratio (Croce and Hein 2020), targets (N,): the target's margin z_t - z_y over
    z_1 - (z_3 + z_4) / 2 of the sorted logits.

    Needs four classes; of fewer it is z_t - z_y itself, which is what the paper leaves open.
    """
    gap = _of(logits.float(), targets) - _of(logits.float(), labels)
    if logits.shape[1] < FEWEST_CLASSES["targeted_dlr"]:
        return gap
    top = logits.float().topk(4, dim=1).values
    return gap / (top[:, 0] - (top[:, 2] + top[:, 3]) / 2 + _NO_DIVISION_BY_ZERO)


def probability_margin(logits: Tensor, labels: Tensor) -> Tensor:
    """max_{c != y} p_c - p_y, with p the softmax (Xie et al. 2025, arXiv 2411.15210)."""
    odds = log_odds(logits, labels)
    return (1 + _share_of_strongest(logits, labels)) * odds.sigmoid() - 1


def probability_margin_direction(logits: Tensor, labels: Tensor) -> Tensor:
    """Its gradient is that of `probability_margin` divided by 1 - p_y, which vanishes where the network is sure.

    With q the strongest other class's share of 1 - p_y and o the log-odds, the margin is (1 + q) sigmoid(o) - 1; its
    gradient over sigmoid(o) is grad q + (1 + q) sigmoid(-o) grad o.
    """
    odds, share = log_odds(logits, labels), _share_of_strongest(logits, labels)
    return share + ((1 + share) * (-odds).sigmoid()).detach() * odds


def _share_of_strongest(logits: Tensor, labels: Tensor) -> Tensor:
    """p_c / (1 - p_y) of the strongest other class c."""
    shares: Tensor = functional.softmax(_others(logits, labels), dim=1).amax(1)
    return shares
