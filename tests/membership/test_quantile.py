import numpy as np
import pytest
import torch
from scipy.stats import norm
from simulated_membership import world
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import LeaveOneOut, cross_val_predict

from benchmark import registry, stats
from benchmark.membership.quantile import PENALTIES, Quantile, Ridge


def test_scores_of_non_members_are_standard_normal_where_the_model_is_right() -> None:
    """Margins linear in the features, with Gaussian noise: (x - mean) / deviation, so N(0, 1) for non-members."""
    w = world(num_images=2000, num_pairs=0, num_auxiliary=2000, gain=1.0, noise=2.0)
    found = Quantile().scores(w.target, w.shadows, w.images)
    outside = found[~w.is_member]
    assert outside.mean().item() == pytest.approx(0, abs=0.1)
    # The log of a squared normal number has mean -1.27: the deviation is a constant factor too small.
    assert outside.std().item() == pytest.approx(np.exp(1.27 / 2), rel=0.1)


def test_its_auc_is_the_closed_form_without_a_shadow_model() -> None:
    w = world(num_images=3000, num_pairs=0, num_auxiliary=2000, gain=1.5, difficulty=3)
    scores = Quantile().scores(w.target, w.shadows, w.images)
    assert stats.auc(scores, w.is_member) == pytest.approx(norm.cdf(1.5 / 2**0.5), abs=0.025)
    assert stats.auc(w.target.margins[:, 0], w.is_member) < 0.7
    coin = torch.rand(3000, generator=torch.Generator().manual_seed(3)) < 0.5
    assert stats.auc(scores, coin) == pytest.approx(0.5, abs=0.03)


def test_images_of_uncertain_kinds_are_measured_against_their_own_spread() -> None:
    """Class 1 has ten times the noise of class 0; the same excess of 5 is much more in class 0."""
    w = world(num_images=600, num_pairs=0, num_auxiliary=2000, gain=0.0, difficulty=0.0)
    images = w.images._replace(labels=torch.arange(600) % 2, auxiliary_labels=torch.arange(2000) % 2)
    w.target.auxiliary[images.auxiliary_labels == 1] *= 10
    w.target.margins[:] = 5
    scores = Quantile().scores(w.target, w.shadows, images)
    ratio = scores[images.labels == 0].median() / scores[images.labels == 1].median()
    assert ratio.item() == pytest.approx(10, rel=0.3)


def test_queries_are_averaged_and_odd_margins_stay_finite() -> None:
    w = world(num_images=30, num_pairs=0, queries=2)
    found = Quantile().scores(w.target, w.shadows, w.images)
    averaged = w.target._replace(
        margins=w.target.margins.mean(-1, keepdim=True), auxiliary=w.target.auxiliary.mean(-1, keepdim=True)
    )
    assert torch.allclose(found, Quantile().scores(averaged, w.shadows, w.images))
    w.target.margins[0] = 1e300
    assert Quantile().scores(w.target, w.shadows, w.images).isfinite().all()
    w.target.auxiliary[:] = 1.0
    assert Quantile().scores(w.target, w.shadows, w.images).isfinite().all()
    w.target.auxiliary[0] = 1e300
    assert Quantile().scores(w.target, w.shadows, w.images).isfinite().all()


def test_its_regression_is_sklearns() -> None:
    """Slopes and penalty as by RidgeCV, left-out residuals as by fitting without each row."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(40, 5))
    x = (x - x.mean(0)) / x.std(0)
    y = x @ draw.normal(size=5) + 3 * draw.normal(size=40) + 7
    ours = Ridge(torch.from_numpy(x))
    fit = ours.fit(torch.from_numpy(y))
    theirs = RidgeCV(PENALTIES).fit(x, y)
    assert fit.slopes.numpy() == pytest.approx(theirs.coef_, rel=1e-9)
    new = draw.normal(size=(3, 5))
    assert ours.predict(torch.from_numpy(new), fit).numpy() == pytest.approx(theirs.predict(new), rel=1e-9)
    predicted = cross_val_predict(SklearnRidge(theirs.alpha_), x, y, cv=LeaveOneOut())
    assert fit.left_out.numpy() == pytest.approx(y - predicted, rel=1e-9)


def test_too_few_auxiliary_images_are_said() -> None:
    w = world(num_images=10, num_pairs=0, num_auxiliary=49)
    with pytest.raises(ValueError, match=r"^quantile: 49 auxiliary images; allowed: at least 50$"):
        Quantile().scores(w.target, w.shadows, w.images)
    assert registry.parse("membership", "quantile") == Quantile()
