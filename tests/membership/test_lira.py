"""LiRA against plain loops over scipy's normal distribution, its closed form, and shadow models that lack a side."""

import numpy as np
import pytest
import torch
from scipy.stats import norm
from simulated_membership import World, world

from benchmark import registry, stats
from benchmark.membership.lira import LiRA
from benchmark.membership.signals import Images, Shadows, Signals


def by_loops(attack: LiRA, w: World) -> list[float]:
    """The paper's Algorithm 1, image by image and query by query, with one variance for all or one an image."""
    target, shadows = w.target.margins.numpy(), w.shadows.signals.margins.numpy()
    inside, outside = w.shadows.trained_on.numpy(), w.shadows.never_seen.numpy()
    num_images, queries = target.shape
    scores = []
    for i in range(num_images):
        total = 0.0
        for q in range(queries):
            sd = []
            for side in inside, outside:
                if attack.variance == "per_image":
                    sd.append(shadows[side[:, i], i, q].std(ddof=1))
                else:
                    own = [shadows[side[:, j], j, q] for j in range(num_images)]
                    squares = sum(((x - x.mean()) ** 2).sum() for x in own)
                    sd.append(np.sqrt(squares / sum(len(x) - 1 for x in own)))
            x, mean_out = target[i, q], shadows[outside[:, i], i, q].mean()
            if attack.mode == "offline":
                total -= norm.logsf(x, mean_out, sd[1])
            else:
                mean_in = shadows[inside[:, i], i, q].mean()
                total += norm.logpdf(x, mean_in, sd[0]) - norm.logpdf(x, mean_out, sd[1])
        scores.append(total)
    return scores


@pytest.mark.parametrize("mode", ["online", "offline"])
@pytest.mark.parametrize("variance", ["one", "per_image"])
@pytest.mark.parametrize("queries", [1, 3])
def test_it_equals_the_paper_by_loops(mode: str, variance: str, queries: int) -> None:
    attack = LiRA.parse({"mode": mode, "variance": variance})
    w = world(num_images=40, queries=queries)
    expected = by_loops(attack, w)
    assert attack.scores(w.target, w.shadows, w.images).numpy() == pytest.approx(expected, rel=1e-9, abs=1e-10)


def given(target: list[float], shadows: list[list[float]], trained_on: list[list[bool]]) -> torch.Tensor:
    """LiRA's scores for margins (P,), (S, P) and memberships (S, P)."""
    nothing = torch.zeros(0, 1)
    member = torch.tensor(trained_on)
    margins = torch.tensor(shadows, dtype=torch.float64)[..., None]
    models = Signals(margins, margins[..., :0], margins[:, :0])
    one = Signals(torch.tensor(target, dtype=torch.float64)[:, None], nothing, nothing)
    images = Images(torch.zeros(len(target)), nothing, nothing, nothing)
    pairs = torch.arange(len(shadows)) // 2
    return LiRA().scores(one, Shadows(models, member, ~member, pair=pairs), images)


def test_a_case_by_hand() -> None:
    """IN margins 3 and 5, OUT 0 and 2: variances 2 and 2, means 4 and 1; at 4 the log ratio is 9 / 4."""
    member = [[True], [False], [True], [False]]
    assert given([4.0], [[3.0], [0.0], [5.0], [2.0]], member).item() == pytest.approx(9 / 4)
    assert given([2.5], [[3.0], [0.0], [5.0], [2.0]], member).item() == pytest.approx(0, abs=1e-12)


def test_one_variance_below_64_models_and_one_an_image_above() -> None:
    few, many = world(60, num_pairs=31, seed=1), world(60, num_pairs=32, seed=1)
    for w, like in (few, "one"), (many, "per_image"):
        found, expected = (a.scores(w.target, w.shadows, w.images) for a in (LiRA(), LiRA.parse({"variance": like})))
        assert found.equal(expected)


def test_its_auc_is_the_closed_form_and_beats_the_loss() -> None:
    """Known Gaussians: AUC = Phi(gain / (sqrt(2) noise)); the loss also sees the difficulty, so Phi is smaller."""
    w = world(num_images=4000, num_pairs=31, gain=1.5, difficulty=3)
    found = stats.auc(LiRA().scores(w.target, w.shadows, w.images), w.is_member)
    assert found == pytest.approx(norm.cdf(1.5 / 2**0.5), abs=0.02)
    loss = stats.auc(w.target.margins[:, 0], w.is_member)
    assert loss == pytest.approx(norm.cdf(1.5 / (2 * (1 + 9)) ** 0.5), abs=0.03)
    offline = stats.auc(LiRA(mode="offline").scores(w.target, w.shadows, w.images), w.is_member)
    assert offline == pytest.approx(found, abs=0.02)


def test_several_queries_tell_more_than_one() -> None:
    """Five independent queries: AUC = Phi(gain sqrt(5) / (sqrt(2) noise))."""
    w = world(num_images=2000, num_pairs=150, queries=5, gain=0.7)
    found = stats.auc(LiRA().scores(w.target, w.shadows, w.images), w.is_member)
    assert found == pytest.approx(norm.cdf(0.7 * (5 / 2) ** 0.5), abs=0.03)


@pytest.mark.parametrize("setting", [{}, {"mode": "offline"}, {"variance": "per_image"}])
def test_members_drawn_by_coin_give_a_half(setting: dict[str, object]) -> None:
    w = world(num_images=4000, queries=2)
    coin = torch.rand(4000, generator=torch.Generator().manual_seed(9)) < 0.5
    scores = LiRA.parse(setting).scores(w.target, w.shadows, w.images)
    assert stats.auc(scores, coin) == pytest.approx(0.5, abs=0.03)


def test_adversarial_queries_are_used_where_asked_and_are_needed_then() -> None:
    w = world(num_images=50, adversarial=2)
    swapped = Signals(w.target.adversarial, w.target.margins, w.target.auxiliary)
    models = w.shadows.signals
    shadows = w.shadows._replace(signals=Signals(models.adversarial, models.margins, models.auxiliary))
    attack = LiRA(signal="adversarial")
    found = attack.scores(w.target, w.shadows, w.images)
    assert found.equal(LiRA().scores(swapped, shadows, w.images))
    both = LiRA(signal="both").scores(w.target, w.shadows, w.images)
    assert torch.allclose(both, found + LiRA().scores(w.target, w.shadows, w.images))
    assert (attack.needs_adversarial, LiRA().needs_adversarial) == (True, False)
    none = world(num_images=50, adversarial=0)
    assert LiRA().scores(none.target, none.shadows, none.images).isfinite().all()
    with pytest.raises(ValueError, match=r"^signal 'adversarial': this model was asked no such query; allowed"):
        attack.scores(none.target, none.shadows, none.images)


def test_an_image_without_a_side_takes_the_average_gain() -> None:
    """Images 0 and 1 gain 3 and 5; image 2, never trained on, has OUT mean 1 and so IN mean 5; image 3 only IN."""
    shadows = [[3.0, 5.0, 0.0, 9.0], [0.0, 0.0, 2.0, 9.0], [3.0, 5.0, 0.0, 11.0], [0.0, 0.0, 2.0, 11.0]]
    member = [[True, True, False, True], [False, False, False, True]] * 2
    scores = given([3.0, 5.0, 3.0, 8.0], shadows, member)
    assert scores[2].item() == pytest.approx(given([2.5, 2.5, 3.0, 8.0], shadows, member)[2].item())
    # OUT variance: 4 / 5 (image 2 alone spreads); IN: 4 / 5 of image 3. Equal, so half-way between means is 0.
    assert scores[2].item() == pytest.approx(0, abs=1e-12)
    assert scores[3].item() == pytest.approx(0, abs=1e-12)  # means 10 and 6


def test_images_that_no_model_knows_get_the_averages() -> None:
    """A near-duplicate of members everywhere: neither trained on nor never seen."""
    w = world(num_images=30)
    never_seen = w.shadows.never_seen.clone()
    trained_on = w.shadows.trained_on.clone()
    never_seen[:, 7] = trained_on[:, 7] = False
    shadows = w.shadows._replace(never_seen=never_seen, trained_on=trained_on)
    scores = LiRA().scores(w.target, shadows, w.images)
    assert scores.isfinite().all()
    with pytest.raises(ValueError, match="at least one pair of shadow models"):
        LiRA().scores(w.target, shadows._replace(trained_on=torch.zeros_like(trained_on)), w.images)


def test_models_that_agree_in_every_digit_huge_margins_and_one_pair_stay_finite_and_in_order() -> None:
    member = [[True, True], [False, False], [True, True], [False, False]]
    flat = [[2.0, 2.0], [1.0, 1.0], [2.0, 2.0], [1.0, 1.0]]
    low, high = given([1.2, 1.8], flat, member)
    assert low < 0 < high and torch.isfinite(high)
    equal = given([5.0, 5.0], [[2.0, 2.0]] * 4, member)
    assert equal.tolist() == [0.0, 0.0]
    for attack in LiRA(), LiRA(mode="offline"), LiRA(variance="per_image"):
        w = world(num_images=20)
        w.shadows.signals.margins[:, 3], w.target.margins[4], w.target.margins[5] = 1e300, 1e300, -1e300
        assert attack.scores(w.target, w.shadows, w.images).isfinite().all()
    assert given([1.0, 0.0], [[1.0, 1.0], [0.0, 0.0]], member[:2]).tolist() == [0.5, -0.5]


def test_equal_images_have_equal_scores() -> None:
    w = world(num_images=40)
    for x in (
        w.target.margins,
        w.shadows.signals.margins.transpose(0, 1),
        w.shadows.trained_on.T,
        w.shadows.never_seen.T,
    ):
        x[1] = x[0]
    scores = LiRA().scores(w.target, w.shadows, w.images)
    assert scores[0] == scores[1]


def test_queries_beyond_those_asked_for_change_nothing() -> None:
    w = world(num_images=40, queries=3)
    one = LiRA(queries=1).scores(w.target, w.shadows, w.images)
    for x in w.target.margins, w.shadows.signals.margins:
        x[..., 1:] += 5 * torch.randn(x[..., 1:].shape, generator=torch.Generator().manual_seed(1))
    assert LiRA(queries=1).scores(w.target, w.shadows, w.images).equal(one)
    assert not LiRA().scores(w.target, w.shadows, w.images).equal(one)
    with pytest.raises(ValueError, match="queries: 0 is not allowed"):
        LiRA.parse({"queries": 0})


def test_it_is_registered() -> None:
    assert registry.parse("membership", "lira") == LiRA()
