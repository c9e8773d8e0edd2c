"""BaVarIA against loops over scipy's Student t, and against LiRA where shadow models are few."""

import numpy as np
import pytest
import torch
from scipy import stats as scipy_stats
from simulated_membership import World, world

from benchmark import registry, stats
from benchmark.membership.bavaria import BaVarIA
from benchmark.membership.lira import LiRA


def by_loops(predictive: str, w: World) -> list[float]:
    """The textbook's update of a normal-inverse-gamma prior (Murphy 2007, Sec. 3), image by image."""
    target, shadows = w.target.margins.numpy(), w.shadows.signals.margins.numpy()
    scores = np.zeros(len(target))
    for sign, side in (1, w.shadows.trained_on.numpy()), (-1, w.shadows.never_seen.numpy()):
        for q in range(target.shape[1]):
            own = [shadows[side[:, i], i, q] for i in range(len(target))]
            pooled = sum(((x - x.mean()) ** 2).sum() for x in own) / sum(len(x) - 1 for x in own)
            means = np.array([x.mean() for x in own])
            between = means.var() - pooled * np.mean([1 / len(x) for x in own])
            k0 = pooled / between
            fourth = np.mean([x.var(ddof=1) ** 2 / (1 + 2 / (len(x) - 1)) for x in own])
            a0 = 2 + 1 / (fourth / pooled**2 - 1)
            b0, m0 = pooled * (a0 - 1), means.mean()
            for i, x in enumerate(own):
                n = len(x)
                k, a = k0 + n, a0 + n / 2
                m = (k0 * m0 + n * x.mean()) / k
                b = b0 + ((x - x.mean()) ** 2).sum() / 2 + k0 * n * (x.mean() - m0) ** 2 / (2 * k)
                if predictive == "student":
                    density = scipy_stats.t(2 * a, m, np.sqrt(b * (k + 1) / (a * k)))
                else:
                    density = scipy_stats.norm(m, np.sqrt(b / (a - 1)))
                scores[i] += sign * density.logpdf(target[i, q])
    return [float(s) for s in scores]


def uneven(**settings: int) -> World:
    """Images whose noise differs, as the prior of the variance supposes."""
    w = world(**settings)
    scale = 0.3 + torch.rand(len(w.is_member), 1, generator=torch.Generator().manual_seed(5)).double().square() * 3
    for x in w.target.margins, w.shadows.signals.margins:
        x.mul_(scale)
    return w


@pytest.mark.parametrize("predictive", ["student", "gaussian"])
@pytest.mark.parametrize("queries", [1, 2])
def test_it_equals_the_textbook_by_loops(predictive: str, queries: int) -> None:
    w = uneven(num_images=60, queries=queries, num_pairs=3)
    found = BaVarIA.parse({"predictive": predictive}).scores(w.target, w.shadows, w.images)
    assert found.numpy() == pytest.approx(by_loops(predictive, w), rel=1e-8, abs=1e-9)


def test_with_few_models_it_beats_the_variance_of_each_image() -> None:
    w = uneven(num_images=3000, num_pairs=3)
    bavaria, own = (
        stats.auc(a.scores(w.target, w.shadows, w.images), w.is_member) for a in (BaVarIA(), LiRA(variance="per_image"))
    )
    assert bavaria > own + 0.02
    coin = torch.rand(3000, generator=torch.Generator().manual_seed(3)) < 0.5
    assert stats.auc(BaVarIA().scores(w.target, w.shadows, w.images), coin) == pytest.approx(0.5, abs=0.03)


def test_with_many_models_it_is_lira_with_a_variance_for_each_image() -> None:
    w = uneven(num_images=300, num_pairs=200)
    for attack in BaVarIA(), BaVarIA(predictive="gaussian"):
        bavaria = attack.scores(w.target, w.shadows, w.images)
        lira = LiRA(variance="per_image").scores(w.target, w.shadows, w.images)
        assert torch.corrcoef(torch.stack([bavaria, lira]))[0, 1] > 0.99


@pytest.mark.parametrize("predictive", ["student", "gaussian"])
def test_missing_sides_one_pair_no_spread_and_huge_margins(predictive: str) -> None:
    attack = BaVarIA.parse({"predictive": predictive})
    w = world(num_images=30)
    w.shadows.trained_on[:, 3] = False
    w.shadows.never_seen[:, 4] = False
    w.shadows.trained_on[:, 5] = w.shadows.never_seen[:, 5] = False
    scores = attack.scores(w.target, w.shadows, w.images)
    assert scores.isfinite().all()
    pair = world(num_images=30, num_pairs=1)
    assert attack.scores(pair.target, pair.shadows, pair.images).isfinite().all()
    w.shadows.signals.margins[:] = 1.0
    assert attack.scores(w.target, w.shadows, w.images).isfinite().all()
    w.shadows.signals.margins[:, 3], w.target.margins[4], w.target.margins[5] = 1e300, 1e300, -1e300
    assert attack.scores(w.target, w.shadows, w.images).isfinite().all()


def test_it_is_registered() -> None:
    assert registry.parse("membership", "bavaria") == BaVarIA()
    assert BaVarIA(signal="both").needs_adversarial
