"""RMIA: how many images of the population does this image beat, each measured against what is normal for it?"""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import logsigmoid

from benchmark.membership.attack import MembershipAttack
from benchmark.membership.queries import Count, margins_of
from benchmark.membership.sides import both_sides
from benchmark.membership.signals import Images, Shadows, Signals


class RMIA(MembershipAttack):
    """Robust membership inference: the share of population images z with ratio(x) >= gamma * ratio(z).

    ratio(x) = p(x | target) / p(x), with p = sigmoid(margin), the probability of the true class. online: p(x) is the
    mean of what IN and OUT models say. offline: OUT models alone, p(x) = ((1 + a) p_out + 1 - a) / 2. The population
    are the auxiliary images; no model trained on them, so p(z) is the mean of all models (online), or made from it as
    p(x) is (offline). Several queries of x vote on whether it beats z, asked as query 0; a tie is half a win.
    Deviations: of the paper we could read the beginning only; gamma 1 and a 0.3 are those of the authors' code, and
    that queries vote is our reading. Images that no model of one side knows, see `both_sides`.
    """

    SOURCE = "Zarifzadeh et al. 2024, Low-Cost High-Power Membership Inference Attacks (arXiv 2312.03262)"
    TOLD_IF_SET = ("mode", "a", "gamma", "queries")
    num_pairs = 1

    mode: Literal["online", "offline"] = "online"
    a: Annotated[float, Field(ge=0, le=1)] = 0.3
    gamma: Annotated[float, Field(ge=1, le=1_000)] = 1.0
    queries: Count = None

    def scores(self, target: Signals, shadows: Shadows, images: Images) -> Tensor:
        """(P,) float64 in [0, 1]. Raises ValueError without auxiliary images or shadow models of both sides."""
        if target.auxiliary.shape[-2] == 0:
            raise ValueError("rmia: no auxiliary images; allowed: a suite with auxiliary images")
        x = self._log_ratio(margins_of(target, "images", self.queries), *self._usual(shadows))
        population = shadows.signals.auxiliary.double()[..., :1]
        z = self._log_ratio(
            target.auxiliary.double()[..., :1],
            self._mixed(population.sigmoid().mean(0)) if self.mode == "offline" else population.sigmoid().mean(0),
            self._share * (-population).sigmoid().mean(0),
        )
        # More than half of the queries beat z where the median one does; of an even number, either median has a half.
        queries = x.shape[-1]
        medians = torch.stack([x.kthvalue(k, dim=-1).values for k in (queries - queries // 2, queries // 2 + 1)])
        threshold = (z.squeeze(-1) + torch.tensor(self.gamma, dtype=torch.float64).log()).sort().values
        return torch.searchsorted(threshold, medians, right=True).double().mean(0) / len(threshold)

    @property
    def _share(self) -> float:
        """How much of 1 - p_out is in 1 - p, where a model never trained on the image."""
        return (1 + self.a) / 2 if self.mode == "offline" else 1.0

    def _mixed(self, out: Tensor) -> Tensor:
        return ((1 + self.a) * out + 1 - self.a) / 2

    def _usual(self, shadows: Shadows) -> tuple[Tensor, Tensor]:
        """p(x) and 1 - p(x), (P, Q) each: either is exact where it is small."""
        margins = margins_of(shadows.signals, "images", self.queries)
        right, wrong = both_sides(margins.sigmoid(), shadows), both_sides((-margins).sigmoid(), shadows)
        if self.mode == "offline":
            return self._mixed(right[1].mean), self._share * wrong[1].mean
        return (right[0].mean + right[1].mean) / 2, (wrong[0].mean + wrong[1].mean) / 2

    @staticmethod
    def _log_ratio(margin: Tensor, usual: Tensor, complement: Tensor) -> Tensor:
        """Log of p(target) / p, from p and 1 - p."""
        log_usual = torch.log1p(-complement.clamp(0, 0.5)).where(complement < 0.5, usual.clamp(1e-300, 1).log())
        return logsigmoid(margin) - log_usual
