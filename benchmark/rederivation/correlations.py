"""Rank correlations between what is known of every private image: memorisation, membership, robustness, exposure."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy.stats import percentileofscore, spearmanr

from benchmark.rederivation.kept import Kept, at
from benchmark.rederivation.membership import judged, strongest
from benchmark.rederivation.memorisation import mean_over, values
from benchmark.rederivation.numbers import Number
from benchmark.rederivation.reconstructions import SPACES, nearest

Floats = npt.NDArray[np.float64]
_FEWEST = 10
_DIGITS = 12
"""Beyond these, equal shares that were summed in another order differ."""


def numbers(kept: Kept) -> Iterator[Number]:
    """Values without intervals, of each model, and of each inversion and space that is no model's own."""
    for node in kept.of("memorization"):
        queries = list(kept.queries(node).values())
        attacked, shadows = (queries[: node.settings["num_attacked"]], queries[node.settings["num_attacked"] :])
        members, outside = (np.stack([q[name] for q in attacked]) for name in ("is_member", "is_out"))
        memorized = values(shadows)["memorization"] if shadows else np.full(members.shape[1], np.nan)
        memorized = values(queries)["memorization"] if np.isnan(memorized).all() else memorized
        attack, score = _membership(kept, node.model, queries[0]["image_id"])
        margin = np.full(members.shape[1], np.nan)
        if attacked[0]["adversarial"].shape[1]:
            least = np.stack([q["adversarial"].min(axis=1) for q in attacked])
            margin = mean_over(np.where(members, least, np.nan))
        pairs = {
            (attack, "", "memorization_membership"): (memorized, score),
            ("", "", "memorization_robust_margin"): (memorized, margin),
            (attack, "", "membership_robust_margin"): (score, margin),
        }
        sides = members.any(axis=0), outside.any(axis=0)
        for inversion in dict.fromkeys(one.method for one in kept.of("neighbours", node.model)):
            for space in SPACES[1:]:
                exposed = _exposure(kept, node.model, inversion, space, queries[0]["image_id"])
                inside, out = (np.where(side, each, np.nan) for side, each in zip(sides, exposed[:2], strict=True))
                pairs[inversion, space, "memorization_exposure"] = memorized, inside
                pairs[inversion, space, "memorization_exposure_gap"] = memorized, inside - out
                pairs[inversion, space, "memorization_cosine"] = memorized, exposed[2]
                pairs[inversion, space, "membership_exposure"] = score, inside
        for (method, space, metric), (first, second) in pairs.items():
            first, second = first.round(_DIGITS), second.round(_DIGITS)
            known = ~np.isnan(first) & ~np.isnan(second)
            if known.sum() >= _FEWEST and np.ptp(first[known]) > 0 and np.ptp(second[known]) > 0:
                place = node.place(metric, space)._replace(method=method)
                yield Number(place, float(spearmanr(first[known], second[known]).statistic))


def _membership(kept: Kept, model: str, ids: npt.NDArray[np.int64]) -> tuple[str, Floats]:
    """(attacks, share of a replica's judged non-members that score lower, mean over the replicas trained on it)."""
    found = strongest(kept, [judged(kept, node) for node in kept.of("infer_membership", model)])
    shares = np.full((len(found), len(ids)), np.nan)
    for row, one in zip(shares, found, strict=True):
        inside = one.table["is_member"]
        lower = percentileofscore(one.score[~one.member], one.table["score"][inside], kind="mean") / 100
        row[at(one.table["image_id"][inside], ids)] = lower
    return ", ".join(dict.fromkeys(one.node.method for one in found)), mean_over(shares)


def _exposure(
    kept: Kept, model: str, inversion: str, space: str, ids: npt.NDArray[np.int64]
) -> tuple[Floats, Floats, Floats]:
    """Of each image: reconstructions whose nearest member, or non-member, it is; the largest cosine to one."""
    counts = {"in": np.zeros(len(ids)), "out": np.zeros(len(ids))}
    cosine = np.full(len(ids), -np.inf)
    for node in kept.of("neighbours", model):
        if node.method == inversion:
            near = nearest(kept, node)[space]
            for side, count in counts.items():
                count += np.bincount(at(near[f"{side}_ids"][:, 0], ids), minlength=len(ids))
            np.maximum.at(cosine, at(near["in_ids"], ids), near["in_cosines"].astype(np.float64))
    return counts["in"], counts["out"], np.where(np.isfinite(cosine), cosine, np.nan)
