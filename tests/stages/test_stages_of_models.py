"""Pools, training, prediction, evasion and membership of the tiny run, recomputed another way."""

import numpy as np
import pytest
import torch
from finished import Finished, in_one_go, pixels
from sklearn.metrics import roc_auc_score

from benchmark.trials import trial

MODELS = [(model, replica) for model in ("softmax", "hardened") for replica in (0, 1)]


def test_pools_are_disjoint_and_replicas_mirror_each_other(finished: Finished) -> None:
    pools = finished.tensors("pools")
    auxiliary, private, test = (set(pools[name].tolist()) for name in ("auxiliary", "private", "test"))
    assert not auxiliary & private and len(test) == 120
    assert set(finished.images.labels[pools["private"]].tolist()) == {0, 1, 2}
    members = [set(finished.pools.members(replica).tolist()) for replica in (0, 1)]
    assert len(members[0]) == len(members[1]) == 300 and not members[0] & members[1]
    assert members[0] | members[1] <= private
    assert set(finished.pools.non_members(0).tolist()) == members[1]
    values = finished.values("pools")
    assert (values["num_auxiliary"], values["num_private"], values["num_test"]) == (len(auxiliary), len(private), 120)
    # A near-duplicate of an image is never in another pool than it is.
    group = pools["group"]
    assert not {int(group[i]) for i in auxiliary} & {int(group[i]) for i in private}


@pytest.mark.parametrize(("model", "replica"), MODELS)
def test_predictions(finished: Finished, model: str, replica: int) -> None:
    network = finished.network(finished.key("train", model, replica))
    assert finished.values("train", model, replica)["num_trained_on"] == 300
    images, labels = finished.images.images, finished.images.labels
    private = finished.tensors("pools")["private"]
    logits = in_one_go(network, pixels(images[private]))
    right = logits.argmax(1) == labels[private].numpy()
    members = np.isin(private.numpy(), finished.pools.members(replica).numpy())
    others = np.isin(private.numpy(), finished.pools.non_members(replica).numpy())
    test = finished.tensors("pools")["test"]
    on_test = in_one_go(network, pixels(finished.images.test_images[test])).argmax(1)
    clean = float((on_test == finished.images.test_labels[test].numpy()).mean())
    rows = finished.values("predict", model, replica)
    assert rows["clean_accuracy"] == finished.values("train", model, replica)["test_accuracy"] == clean
    assert rows["member_accuracy"] == pytest.approx(right[members].mean(), abs=0.004)  # one image at a tie
    assert rows["non_member_accuracy"] == pytest.approx(right[others].mean(), abs=0.004)
    assert rows["generalization_gap"] == pytest.approx(right[members].mean() - clean, abs=0.004)
    written = finished.tensors("predict", model, replica)
    assert (written["is_member"].numpy() == members).all() and members.sum() == 300
    top = logits.max(1)
    loss = np.log(np.exp(logits - top[:, None]).sum(1)) + top - logits[np.arange(len(right)), labels[private].numpy()]
    np.testing.assert_allclose(written["loss"].numpy(), loss, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("model", "replica"), MODELS)
@pytest.mark.parametrize("attack", ["pgd-l2-0.5", "fgsm-l2-0.5"])
def test_evasion(finished: Finished, model: str, replica: int, attack: str) -> None:
    rows = finished.rows("evade", model, replica, attack)
    found = finished.tensors("evade", model, replica, attack)
    clean, robust = found["test_clean"], found["test_robust"]
    assert len(clean) == 100 and not (robust & ~clean).any(), "what is wrong already is not robust"
    row = rows["", "robust_accuracy"]
    assert (row["value"], row["n"]) == (float(robust.double().mean()), 100) and row["low"] <= row["value"] <= row[
        "high"
    ]
    assert rows["", "attack_success_rate"]["value"] == pytest.approx(1 - float(robust.sum() / clean.sum()))
    assert float(found["test_distance"].max()) <= 0.5 + 1e-5
    members = ("", "robust_generalization_gap") in rows
    assert members == (attack == "pgd-l2-0.5"), "members are attacked by the primary attack only"
    if members:
        gap = float(found["members_robust"].double().mean()) - row["value"]
        assert len(found["members_robust"]) == 60
        assert rows["", "robust_generalization_gap"]["value"] == pytest.approx(gap)


@pytest.mark.parametrize("attack", ["pgd-l2-0.5", "fgsm-l2-0.5"])
def test_all_models_are_attacked_on_the_same_images(finished: Finished, attack: str) -> None:
    generator = trial.generator(finished.key("pools"), "evaded test images")
    test = finished.tensors("pools")["test"]
    ids = test[torch.randperm(120, generator=generator)[:100]]
    for model, replica in MODELS:
        network = finished.network(finished.key("train", model, replica))
        said = in_one_go(network, pixels(finished.images.test_images[ids])).argmax(1)
        right = torch.from_numpy(said) == finished.images.test_labels[ids]
        assert torch.equal(finished.tensors("evade", model, replica, attack)["test_clean"], right)


@pytest.mark.parametrize(("model", "replica"), MODELS)
def test_membership(finished: Finished, model: str, replica: int) -> None:
    own, other = (finished.tensors("predict", model, r) for r in (replica, 1 - replica))
    truth = own["is_member"].numpy()
    rows = finished.rows("infer_membership", model, replica, "loss_threshold")
    auc = roc_auc_score(truth, -own["loss"].numpy())
    assert rows["", "membership_auc"]["value"] == pytest.approx(auc, abs=1e-9)
    # The threshold of best balanced accuracy on the other replica, found by trying them all.
    losses, inside = other["loss"].numpy(), other["is_member"].numpy()
    cuts = np.unique(losses)
    said = losses[None] <= cuts[:, None]
    best = cuts[((said[:, inside].mean(1) + 1 - said[:, ~inside].mean(1)) / 2).argmax()]
    called = own["loss"].numpy() <= best
    balanced = (called[truth].mean() + 1 - called[~truth].mean()) / 2
    assert rows["", "membership_balanced_accuracy"]["value"] == pytest.approx(balanced, abs=0.01)
    # At most 1% of the non-members are called members.
    scores = -own["loss"].numpy()
    worst = np.sort(scores[~truth])[::-1]
    share = (scores[truth] > worst[int(0.01 * len(worst))]).mean()
    assert rows["", "tpr_at_1pct_fpr"]["value"] == pytest.approx(share)
