"""RMIA against plain loops over pairs of an image and a population image."""

import numpy as np
import pytest
import torch
from scipy.special import expit
from simulated_membership import World, world

from benchmark import registry, stats
from benchmark.membership.rmia import RMIA


def by_loops(attack: RMIA, w: World) -> list[float]:
    """Eq. 2 of the paper for every x and z; several queries of x vote, a tie is half a win."""
    p_x, p_z = expit(w.shadows.signals.margins.numpy()), expit(w.shadows.signals.auxiliary.numpy()[..., 0])
    target_x, target_z = expit(w.target.margins.numpy()), expit(w.target.auxiliary.numpy()[:, 0])
    inside, outside = w.shadows.trained_on.numpy(), w.shadows.never_seen.numpy()

    def usual(out: float) -> float:
        return ((1 + attack.a) * out + (1 - attack.a)) / 2 if attack.mode == "offline" else out

    ratio_z = [target_z[k] / usual(p_z[:, k].mean()) for k in range(len(target_z))]
    scores = []
    for i, asked in enumerate(target_x):
        beaten = 0.0
        for z in ratio_z:
            votes = 0
            for q, p in enumerate(asked):
                out = p_x[outside[:, i], i, q].mean()
                normal = usual(out) if attack.mode == "offline" else (out + p_x[inside[:, i], i, q].mean()) / 2
                votes += bool(p / normal / z >= attack.gamma)
            beaten += (1 + np.sign(2 * votes - len(asked))) / 2
        scores.append(beaten / len(ratio_z))
    return scores


@pytest.mark.parametrize("mode", ["online", "offline"])
@pytest.mark.parametrize("queries", [1, 2, 3])
@pytest.mark.parametrize("gamma", [1.0, 2.0])
def test_it_equals_the_paper_by_loops(mode: str, queries: int, gamma: float) -> None:
    attack = RMIA.parse({"mode": mode, "gamma": gamma, "a": 0.4})
    w = world(num_images=40, queries=queries, num_auxiliary=50)
    found = attack.scores(w.target, w.shadows, w.images)
    assert found.numpy() == pytest.approx(by_loops(attack, w), abs=1e-12)
    assert len(found.unique()) > 5


def test_it_beats_the_loss_and_a_coin_gives_a_half() -> None:
    w = world(num_images=3000, num_pairs=4, gain=1.5, difficulty=3, num_auxiliary=1000)
    coin = torch.rand(3000, generator=torch.Generator().manual_seed(3)) < 0.5
    loss = stats.auc(w.target.margins[:, 0], w.is_member)
    for attack in RMIA(), RMIA(mode="offline"):
        scores = attack.scores(w.target, w.shadows, w.images)
        assert stats.auc(scores, w.is_member) > loss + 0.05
        assert stats.auc(scores, coin) == pytest.approx(0.5, abs=0.03)


def test_probabilities_next_to_1_are_told_apart() -> None:
    """At margins of 40 and 45, 1 - p is 4e-18: nothing in float64, but not in the log of p."""
    w = world(num_images=4, num_pairs=2, num_auxiliary=2)
    w.shadows.signals.margins[:], w.shadows.signals.auxiliary[:] = 42.0, 42.0
    w.target.margins[:, 0] = torch.tensor([40.0, 41.0, 43.0, 45.0])
    w.target.auxiliary[:, 0] = 42.0
    assert RMIA().scores(w.target, w.shadows, w.images).tolist() == [0, 0, 1, 1]


def test_an_image_without_in_models_takes_the_average_difference() -> None:
    w = world(num_images=6, num_pairs=2)
    trained_on = w.shadows.trained_on.clone()
    trained_on[:, 0] = False
    shadows = w.shadows._replace(trained_on=trained_on)
    p = w.shadows.signals.margins.sigmoid()[..., 0]
    gains = [
        float(p[trained_on[:, i], i].mean() - p[shadows.never_seen[:, i], i].mean())
        for i in range(1, 6)
        if 0 < trained_on[:, i].sum() < 4
    ]
    out = float(p[shadows.never_seen[:, 0], 0].mean())
    usual = min(out + np.mean(gains) / 2, 1)
    ratio_z = (w.target.auxiliary.sigmoid() / w.shadows.signals.auxiliary.sigmoid().mean(0))[:, 0]
    expected = (w.target.margins[0, 0].sigmoid() / usual >= ratio_z).double().mean()
    assert RMIA().scores(w.target, shadows, w.images)[0] == expected


def test_huge_margins_and_no_auxiliary_images() -> None:
    for attack in RMIA(), RMIA(mode="offline", a=1.0):
        w = world(num_images=20)
        w.target.margins[0], w.target.margins[1], w.shadows.signals.margins[:, 2] = 1e300, -1e300, -1e300
        scores = attack.scores(w.target, w.shadows, w.images)
        assert scores.isfinite().all() and scores[1] == 0
    none = world(num_images=20, num_auxiliary=0)
    with pytest.raises(ValueError, match="^rmia: no auxiliary images; allowed"):
        RMIA().scores(none.target, none.shadows, none.images)


def test_settings() -> None:
    w = world(num_images=40, queries=2)
    assert RMIA(queries=1).scores(w.target, w.shadows, w.images).numpy() == pytest.approx(
        by_loops(RMIA(), w._replace(target=w.target._replace(margins=w.target.margins[:, :1]))), abs=1e-12
    )
    assert registry.parse("membership", "rmia") == RMIA()
    with pytest.raises(ValueError, match="gamma: 0.5 is not allowed"):
        RMIA.parse({"gamma": 0.5})
