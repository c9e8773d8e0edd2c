"""Accuracy under common corruptions on the tiny run, recomputed from the images and the weights."""

import pytest
import torch
from asked_robustness import by_space, ran
from finished import Finished, in_one_go, pixels

from benchmark.data.corruptions import corrupted
from benchmark.stages.corrupt import Corrupt
from benchmark.stats import clopper_pearson
from benchmark.trials import trial

STAGE = Corrupt(names=["gaussian_noise", "contrast", "motion_blur"], severities=[1, 5], num_images=50)


@pytest.mark.parametrize("model", ["softmax", "hardened"])
def test_every_row_and_the_mean(finished: Finished, model: str) -> None:
    """Each model sees the same corrupted images; clean ones give the accuracy that evasion attacks begin from."""
    key, test = finished.key("pools"), finished.tensors("pools")["test"]
    ids = test[torch.randperm(120, generator=trial.generator(key, "evaded test images"))[:50]]
    images, labels = pixels(finished.images.test_images[ids]), finished.images.test_labels[ids].numpy()
    network = finished.network(finished.key("train", model, 0))
    assert (
        (in_one_go(network, images).argmax(1) == labels)
        == finished.tensors("evade", model, 0, "pgd-l2-0.5")["test_clean"][:50].numpy()
    ).all()
    outcome = ran(finished, model, STAGE)
    rows, shares = by_space(outcome, "corruption_accuracy"), []
    for name in STAGE.names:
        for severity in STAGE.severities:
            generator = trial.generator(key, f"corrupted test images, {name} {severity}")
            right = in_one_go(network, corrupted(images, name, severity, generator)).argmax(1) == labels
            row = rows[f"{name} {severity}"]
            assert row["value"] == pytest.approx(right.mean(), abs=0.021), "one image at a tie"
            shares.append(row["value"])
    mean = by_space(outcome, "mean_corruption_accuracy")[""]
    assert mean["value"] == pytest.approx(sum(shares) / 6)
    exact = clopper_pearson(mean["value"] * 50, 50)
    assert (mean["low"], mean["high"], mean["n"]) == pytest.approx((exact.low, exact.high, 50))
    assert outcome.tensors["right"].shape == (6, 50)


def test_it_does_not_depend_on_what_else_is_asked(finished: Finished) -> None:
    whole = ran(finished, "softmax", STAGE).tensors["right"]
    one = ran(finished, "softmax", Corrupt(names=["contrast"], severities=[5], num_images=50)).tensors["right"]
    assert torch.equal(whole[3], one[0])
