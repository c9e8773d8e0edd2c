"""Attacks through the stage, on signals that are made up: who sees what, what is chosen, and the null."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmark import registry, stats
from benchmark.data.members.pools import Pools
from benchmark.membership.attack import MembershipAttack
from benchmark.membership.signals import Images, Shadows, Signals
from benchmark.stages.infer_membership import InferMembership, Inferred, _images, _rows, inferred
from benchmark.stages.query import _sides
from benchmark.stages.shared.queried import Query, shadows_of
from benchmark.trials.trial import Context

NUM_IMAGES, NUM_AUXILIARY, EFFECT = 400, 60, 1.0


def queried(num_replicas: int, effect: float = EFFECT, seed: int = 0) -> dict[int, Query]:
    """Pairs of complements over images of unequal difficulty; members have margins that are `effect` higher."""
    draw = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    difficulty, found = 2 * noise(NUM_IMAGES, 1), {}
    ids = torch.arange(NUM_IMAGES)
    for replica in range(num_replicas):
        if replica % 2 == 0:
            first = torch.rand(NUM_IMAGES, generator=draw).argsort().argsort() < NUM_IMAGES // 2
        inside = first if replica % 2 == 0 else ~first
        shown = difficulty + effect * inside[:, None] + 0.5 * noise(NUM_IMAGES, 3)
        found[replica] = {
            "margins": shown[:, :2], "adversarial": shown[:, 2:] - 1, "auxiliary": 2 * noise(NUM_AUXILIARY, 2),
            "is_member": inside, "is_out": ~inside, "never_seen": ~inside, "correct": shown[:, 0] > 0,
            "image_id": ids, "label": ids % 4, "group": ids,
        }  # fmt: skip
    return found


def images(seed: int = 1) -> Images:
    draw = torch.Generator().manual_seed(seed)
    features = [torch.randn(n, 5, generator=draw) for n in (NUM_IMAGES, NUM_AUXILIARY)]
    return Images(torch.arange(NUM_IMAGES) % 4, features[0], torch.arange(NUM_AUXILIARY) % 4, features[1])


def attack_named(name: str) -> MembershipAttack:
    return cast(MembershipAttack, registry.parse("membership", name))


def test_an_attack_gets_features_if_it_needs_them_and_else_none() -> None:
    full, own = images(), torch.arange(NUM_IMAGES) % 4
    kept = {
        "embed": {"private": full.features},
        "embed_auxiliary": {"features": full.auxiliary_features, "label": full.auxiliary_labels},
    }
    context = cast(Context, SimpleNamespace(tensors=kept.__getitem__))
    for given, expected in zip(_images(context, attack_named("quantile"), own), full, strict=True):
        assert torch.equal(given, expected)
    found = _images(cast(Context, None), attack_named("loss_threshold"), own)
    assert torch.equal(found.labels, own)
    assert [tuple(part.shape) for part in found[1:]] == [(NUM_IMAGES, 0), (0,), (0, 0)]


class Peeking(MembershipAttack):
    """Says that what the last pair's models were not trained on is a member: with the mate in it, AUC 1."""

    def scores(self, target: Signals, shadows: Shadows, images: Images) -> Tensor:
        return -shadows.trained_on.double().mean(0) + 1e-9 * target.margins[:, 0]


@pytest.fixture
def peeking(monkeypatch: pytest.MonkeyPatch) -> Peeking:
    monkeypatch.setitem(registry.MEMBERSHIP, "peeking", f"{Peeking.__module__}:Peeking")
    return Peeking()


@pytest.mark.parametrize("name", registry.MEMBERSHIP)
@pytest.mark.parametrize("replica", [0, 3])
def test_exchanging_the_rows_of_target_and_mate_together_changes_no_score(name: str, replica: int) -> None:
    """The mate's members are the target's non-members: an attack that reads either row reads the answer."""
    queries, attack = queried(8), attack_named(name)
    before = inferred(attack, queries, replica, images())
    mate = replica ^ 1
    exchanged = dict(queries)
    rows = ("is_member", "is_out", "never_seen")
    for one, other in ((replica, mate), (mate, replica)):
        exchanged[one] = {**queries[one], **{row: queries[other][row] for row in rows}}
    after = inferred(attack, exchanged, replica, images())
    assert torch.equal(before.scores, after.scores)
    assert (before.threshold, before.shadow_auc) == (after.threshold, after.shadow_auc)
    assert not torch.equal(queries[replica]["is_member"], queries[mate]["is_member"])


@pytest.mark.parametrize("name", registry.MEMBERSHIP)
def test_an_attack_finds_members_where_there_is_a_difference_and_none_where_there_is_none(name: str) -> None:
    """The null: members drawn by coin after the training."""
    attack, means = attack_named(name), []
    for effect in (0.0, 3.0):
        areas = []
        for seed in range(3):
            queries = queried(8, effect, seed)
            found = inferred(attack, queries, 2, images())
            areas.append(stats.auc(found.scores.numpy(), queries[2]["is_member"].numpy()))
        means.append(np.mean(areas))
    assert means[0] == pytest.approx(0.5, abs=0.05)  # 3 standard errors of 3 x 400 images
    assert means[1] > 0.62


def test_shadow_models_are_the_other_pairs() -> None:
    queries = queried(6)
    shadows = shadows_of(queries, 1)
    assert shadows.pair.tolist() == [0, 0, 2, 2] and shadows.trained_on.shape == (4, NUM_IMAGES)
    assert torch.equal(shadows.signals.margins[2], queries[4]["margins"])
    assert shadows.without(2).pair.tolist() == [0, 0]
    assert shadows_of({0: queries[0], 1: queries[1]}, 0).signals.margins.shape == (0, NUM_IMAGES, 2)


def test_threshold_and_shadow_auc_by_hand() -> None:
    queries = queried(6)
    found = inferred(attack_named("loss_threshold"), queries, 0, images())
    others = [(queries[r]["margins"][:, 0].numpy(), queries[r]["is_member"].numpy()) for r in (2, 3, 4, 5)]
    assert found.shadow_auc == pytest.approx(np.mean([stats.auc(*each) for each in others]))
    scores, inside = (np.concatenate(part) for part in zip(*others, strict=True))
    cuts = np.unique(scores)
    balanced = [((scores[inside] > cut).mean() + (scores[~inside] <= cut).mean()) / 2 for cut in cuts]
    assert found.threshold is not None
    own = ((scores[inside] > found.threshold).mean() + (scores[~inside] <= found.threshold).mean()) / 2
    assert own == pytest.approx(max(balanced))


def test_the_mate_gives_everything_away_and_is_not_there(peeking: Peeking) -> None:
    """With it the scores would be the truth; without it they say nothing."""
    queries = queried(8, effect=0.0)
    truth = queries[0]["is_member"].numpy()
    assert stats.auc(inferred(peeking, queries, 0, images()).scores.numpy(), truth) == pytest.approx(0.5, abs=0.09)
    with_mate = torch.stack([queries[r]["is_member"] for r in range(1, 8)]).double().mean(0)
    assert stats.auc((-with_mate).numpy(), truth) > 0.7


def test_without_other_pairs_there_is_no_threshold_and_the_reason() -> None:
    found = inferred(attack_named("loss_threshold"), queried(2), 1, images())
    assert found.threshold is None and found.shadow_auc is None
    assert found.note == "a threshold comes from 2 replicas or more of other pairs, and there are 0"


def test_precision_at_a_prior_of_a_tenth_by_hand() -> None:
    """3 of 4 members and 1 of 4 non-members are called: 0.1 * 0.75 / (0.1 * 0.75 + 0.9 * 0.25)."""
    scores, truth = np.array([3.0, 3, 3, 1, 3, 1, 1, 1]), np.arange(8) < 4
    rows = {row["metric"]: row for row in _rows(Inferred(torch.tensor(scores), 2.0, 0.7), scores, truth)}
    assert rows["membership_precision"]["value"] == pytest.approx(0.25)
    assert rows["membership_balanced_accuracy"]["value"] == 0.75 and rows["shadow_auc"]["value"] == 0.7
    assert rows["tpr_at_1pct_fpr"]["value"] is None and "4" in str(rows["tpr_at_1pct_fpr"]["note"])
    nobody = {row["metric"]: row for row in _rows(Inferred(torch.tensor(scores), 9.0, 0.7), scores, truth)}
    assert nobody["membership_precision"]["note"] == "no image is called a member"


def test_a_near_duplicate_of_a_member_is_no_non_member() -> None:
    """By hand: members 0, 1; 2 is a near-duplicate of 0, whose half is the other; 3 and 4 are non-members, 5 is in
    neither half. Of the pairs (0, 3), (0, 4), (1, 3), (1, 4) the member is ahead in 3: AUC 0.75. Image 2, which the
    model knows best of all, would make it 0.5 as a non-member, and image 5 another number again.
    """
    ids = torch.arange(6)
    pools = Pools(
        {
            "auxiliary": ids[:0], "test": ids[:0], "private": ids, "label": torch.zeros(6, dtype=torch.int64),
            "group": torch.tensor([0, 1, 0, 3, 4, 5]), "members": ids[:2], "non_members": ids[2:5],
        },
        "key",
    )  # fmt: skip
    margins = torch.tensor([4.0, 2.0, 9.0, 1.0, 3.0, 8.0], dtype=torch.float64)[:, None]
    own = {"margins": margins, "adversarial": margins[:, :0], "auxiliary": margins[:0], **_sides(pools, 0, ids)}
    kept = {"query_0": {**own, "image_id": ids, "label": ids * 0, "group": pools.groups(ids)}}
    context: Any = SimpleNamespace(tensors=kept.__getitem__, trial=SimpleNamespace(inputs={"query_0": "key"}))
    done = InferMembership(attack=attack_named("loss_threshold"), replica=0).run(context)
    table = done.tables["scores"].to_pydict()
    assert table["judged"] == [True, True, False, True, True, False]
    assert table["is_member"] == [True, True, False, False, False, False]
    assert table["score"] == margins[:, 0].tolist(), "it has a score all the same"
    found = {row["metric"]: row for row in done.rows}
    assert found["membership_auc"]["value"] == 0.75 and found["membership_auc"]["n"] == 4
    assert "at least 1/2," in str(found["tpr_at_1pct_fpr"]["note"]), "of two non-members"
