"""Pools, training, prediction, evasion and membership of the tiny run, recomputed another way."""

import numpy as np
import pytest
import torch
from command import Run
from finished import Finished, in_one_go, pixels
from sklearn.metrics import roc_auc_score

from benchmark.results.store import Store
from benchmark.stages import evade
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
    assert (written["correct"].numpy() == right).mean() > 0.99 and written.keys() == {"correct", "is_member"}


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


@pytest.mark.parametrize("pool", ["test", "members"])
@pytest.mark.parametrize(("model", "replica"), MODELS)
def test_images_that_fooled_are_kept(finished: Finished, model: str, replica: int, pool: str) -> None:
    """In the ball around the image that they were made of, in the box, and wrong under the weights alone."""
    found = finished.tensors("evade", model, replica, "pgd-l2-0.5")
    ids = found[f"{pool}_ids"][found[f"{pool}_clean"] & ~found[f"{pool}_robust"]]
    images = finished.images
    clean, labels = (
        (images.test_images[ids], images.test_labels[ids])
        if pool == "test"
        else (images.pixels(ids), images.classes(ids))
    )
    moved = found[f"{pool}_adversarial"].numpy()
    assert moved.shape == clean.shape and len(moved) and moved.min() >= 0 and moved.max() <= 1
    assert np.linalg.norm((moved - pixels(clean).numpy()).reshape(len(moved), -1), axis=1).max() <= 0.5 + 1e-5
    network = finished.network(finished.key("train", model, replica))
    assert (in_one_go(network, torch.from_numpy(moved)).argmax(1) != labels.numpy()).all()


def test_images_that_fooled_are_kept_up_to_a_bound(
    finished: Finished, tiny_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = finished.key("evade", "softmax", 0, "pgd-l2-0.5")
    whole = finished.tensors("evade", "softmax", 0, "pgd-l2-0.5")["test_adversarial"]
    assert len(whole) > 3
    monkeypatch.setattr(evade, "MOST_KEPT", 3 * whole[:1].nbytes + 1)
    store = Store(tiny_run.results)
    again = trial.execute(store.trial(key), store, trial.Settings(results=str(tiny_run.results), device="cpu"))
    assert torch.equal(again.tensors["test_adversarial"], whole[:3])


@pytest.mark.parametrize(("model", "replica"), MODELS)
def test_queries(finished: Finished, model: str, replica: int) -> None:
    """Margins of the image and of its mirror, and who is who, from the weights and the pools alone."""
    network = finished.network(finished.key("train", model, replica))
    found = finished.tensors("query", model, replica)
    pools = finished.tensors("pools")
    private, group = pools["private"].numpy(), pools["group"].numpy()
    labels = finished.images.labels[pools["private"]].numpy()
    assert (found["image_id"].numpy() == private).all() and (found["label"].numpy() == labels).all()
    images = pixels(finished.images.images[pools["private"]])
    for query, shown in enumerate((images, images.flip(3))):
        logits = in_one_go(network, shown)
        shares = np.exp(logits - logits.max(1, keepdims=True))
        own = shares[np.arange(len(labels)), labels]
        margins = np.log(own) - np.log(shares.sum(1) - own)
        np.testing.assert_allclose(found["margins"][:, query].numpy(), margins, rtol=1e-3, atol=1e-4)
    assert found["margins"].shape[1] == 2 and found["adversarial"].shape == (len(private), 0)
    assert found["auxiliary"].shape == (len(pools["auxiliary"]), 2)
    members, others = finished.pools.members(replica).numpy(), finished.pools.non_members(replica).numpy()
    assert (found["is_member"].numpy() == np.isin(private, members)).all()
    assert (found["is_out"].numpy() == np.isin(private, others)).all()
    near = set(group[members].tolist())
    assert found["never_seen"].tolist() == [int(group[image]) not in near for image in private]


@pytest.mark.parametrize(("model", "replica"), MODELS)
def test_membership(finished: Finished, model: str, replica: int) -> None:
    own = finished.tensors("query", model, replica)
    members, others = own["is_member"].numpy(), (own["is_out"] & own["never_seen"]).numpy()
    rows = finished.rows("infer_membership", model, replica, "loss_threshold")
    scores = own["margins"][:, 0].numpy()
    judged = members | others
    auc = roc_auc_score(members[judged], scores[judged])
    assert (
        rows["", "membership_auc"]["value"] == pytest.approx(auc, abs=1e-9) and rows["", "membership_auc"]["n"] == 600
    )
    # At most 1% of the other half are called members.
    worst = np.sort(scores[others])[::-1]
    share = (scores[members] > worst[int(0.01 * len(worst))]).mean()
    assert rows["", "tpr_at_1pct_fpr"]["value"] == pytest.approx(share)
    # The only other replica is the mate, which may teach nothing.
    for metric in ("membership_balanced_accuracy", "membership_precision", "shadow_auc"):
        assert rows["", metric]["value"] is None and "there are 0" in rows["", metric]["note"]
