"""AUC and true-positive rates over pairs: complements, thresholds that are estimated, rates that cannot be resolved."""

import numpy as np
import pytest
from scipy.stats import norm

from benchmark.stats import (
    Scored,
    auc_cells,
    clopper_pearson,
    replicated_auc,
    replicated_tpr,
    tpr_at_1pct,
)

Rng = np.random.Generator


def pair(rng: Rng, images: np.ndarray, boost: float, noise: float = 0.3) -> list[Scored]:
    """Two complementary replicas: an image is as easy as it is (`images`), and easier where it was trained on."""
    inside = rng.permutation(len(images)) < len(images) // 2
    scores = [images + boost * side + rng.normal(0, noise, len(images)) for side in (inside, ~inside)]
    return [Scored(score, side, np.arange(len(images))) for score, side in zip(scores, (inside, ~inside), strict=True)]


def delong(scores: np.ndarray, members: np.ndarray) -> float:
    """The variance of one AUC (DeLong, DeLong and Clarke-Pearson 1988) from all of its pairs."""
    won = (np.sign(scores[members][:, None] - scores[~members]) + 1) / 2
    return float(sum(won.mean(axis).var(ddof=1) / won.shape[1 - axis] for axis in (0, 1)))


def test_one_replica_has_delongs_variance() -> None:
    rng = np.random.default_rng(0)
    scores, members = rng.normal(size=400), rng.random(400) < 0.5
    assert auc_cells([(scores, members)]).variance()[0] == pytest.approx(delong(scores, members), rel=0.01)


def test_complements_are_not_taken_for_noise() -> None:
    """Images differ ten times more than membership changes them: over a pair that cancels, to within simulation."""
    drawn, estimated = [], []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        replicas = pair(rng, rng.normal(0, 3, 400), 0.2)
        drawn.append(auc_cells(replicas).value)
        estimated.append(auc_cells(replicas).variance()[0])
    assert np.mean(estimated) == pytest.approx(np.var(drawn), rel=0.35)
    assert delong(*replicas[0][:2]) > 20 * np.mean(estimated)


@pytest.mark.parametrize(("pairs", "spread"), [(1, 0.0), (2, 0.0), (4, 0.0), (4, 0.2)])
def test_auc_covers(pairs: int, spread: float) -> None:
    """spread: of the boost between pairs, as trainings differ."""
    rng = np.random.default_rng(0)
    truth = np.mean([norm.cdf(rng.normal(0.5, spread, 4000) / np.sqrt(2 * (1 + 0.09)))])
    covered = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        images = rng.normal(size=200)
        boosts = rng.normal(0.5, spread, pairs)
        found = replicated_auc([replica for boost in boosts for replica in pair(rng, images, boost)])
        covered.append(found.low <= truth <= found.high)
    assert np.mean(covered) >= 0.91


def test_auc_is_never_certain() -> None:
    perfect = (np.r_[np.ones(30), np.zeros(20)], np.arange(50) < 30)
    assert replicated_auc([perfect])[:3] == clopper_pearson(20, 20)[:3]
    constant = (np.zeros(50), np.arange(50) < 30)
    assert replicated_auc([constant, constant])[:3] == clopper_pearson(10, 20)[:3]
    with pytest.raises(ValueError, match="at least one replica"):
        replicated_auc([])


def test_tpr_by_hand() -> None:
    """1,000 non-members allow ten false alarms: members above the eleventh."""
    scores, members = np.r_[np.arange(1000.0), np.arange(1000) + 0.5], np.arange(2000) >= 1000
    found = tpr_at_1pct([(scores, members)])
    assert (found.value, found.n) == (0.011, 1000) and found.low < 0.008 and found.high > 0.014


def test_pairs_are_pooled_where_one_cannot_resolve_the_rate() -> None:
    rng = np.random.default_rng(0)
    replicas = [replica for _ in range(4) for replica in pair(rng, rng.normal(size=600), 1.0)]
    found = replicated_tpr(replicas, 0.005)  # 600 non-members a pair, 2,400 of all four, 2,000 needed
    pooled = np.concatenate([r.scores for r in replicas]), np.concatenate([r.is_member for r in replicas])
    threshold = np.sort(pooled[0][~pooled[1]])[-13]
    assert found.value == pytest.approx((pooled[0][pooled[1]] > threshold).mean())
    with pytest.raises(ValueError, match=r"2,400 non-members do not resolve a rate of 0.001; needed: 10,000"):
        replicated_tpr(replicas, 0.001)


@pytest.mark.parametrize("pairs", [1, 2])
def test_tpr_covers_though_its_threshold_is_estimated(pairs: int) -> None:
    truth = norm.sf(norm.isf(0.02) - 1.0)
    covered = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        replicas = []
        for _ in range(2 * pairs):
            members = np.arange(1000) < 500
            replicas.append(Scored(rng.normal(size=1000) + members, members))
        found = replicated_tpr(replicas, 0.02)
        covered.append(found.low <= truth <= found.high)
    assert np.mean(covered) >= 0.93
