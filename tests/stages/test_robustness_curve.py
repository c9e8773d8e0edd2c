"""Robust accuracy against epsilon on the tiny run: exact on softmax regression, and never above an attack."""

import math

import numpy as np
import pytest
import torch
from asked_robustness import by_space, ran, settings
from finished import Finished, in_one_go, pixels
from torch import nn

from benchmark.registry import dump
from benchmark.stages.measure_robustness_curve import RobustnessCurve, judged
from benchmark.stats import clopper_pearson
from benchmark.trials import trial
from benchmark.trials.trial import Context, Trial

RADII = {"linf": [0.01, 0.03, 0.06, 0.1], "l2": [0.25, 0.5, 1.0, 2.2]}
STAGE = RobustnessCurve(epsilons=RADII, steps=40, num_images=40)  # type: ignore[arg-type]


def attacked(finished: Finished) -> tuple[np.ndarray, np.ndarray]:
    """(images (40, 784) in [0, 1], labels)."""
    test = finished.tensors("pools")["test"]
    order = torch.randperm(120, generator=trial.generator(finished.key("pools"), "evaded test images"))
    ids = test[order[:40]]
    return pixels(finished.images.test_images[ids]).flatten(1).numpy(), finished.images.test_labels[ids].numpy()


def exact(finished: Finished, norm: str) -> np.ndarray:
    """(40,) smallest perturbations inside [0, 1] of a linear model: each rival class is a half-space.

    The nearest point of a half-space in a box moves each pixel along the normal's sign by the same amount (linf), or in
    proportion to the normal (l2), as far as the box lets it: bisection finds how far.
    """
    network = finished.network(finished.key("train", "softmax", 0))
    x, y = attacked(finished)
    zero = in_one_go(network, torch.zeros(1, 1, 28, 28))
    weight = (in_one_go(network, torch.eye(784).view(784, 1, 28, 28)) - zero).T
    logits = x @ weight.T + zero
    found = np.full(len(x), math.inf)
    for i, (image, label) in enumerate(zip(x, y, strict=True)):
        for rival in set(range(3)) - {int(label)}:
            normal, lead = weight[rival] - weight[label], logits[i, label] - logits[i, rival]

            def moved(far: float, normal: np.ndarray = normal, image: np.ndarray = image) -> np.ndarray:
                step = far * (np.sign(normal) if norm == "linf" else normal)
                return np.clip(image + step, 0, 1) - image

            low, high = 0.0, 1.0 if norm == "linf" else 1e4
            for _ in range(80):
                middle = (low + high) / 2
                low, high = (low, middle) if moved(middle) @ normal >= lead else (middle, high)
            delta = moved(high)
            if delta @ normal >= lead:
                found[i] = min(found[i], np.abs(delta).max() if norm == "linf" else np.linalg.norm(delta))
    return found


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_softmax_regression_against_the_closed_form(finished: Finished, norm: str) -> None:
    outcome, truth = ran(finished, "softmax", STAGE), exact(finished, norm)
    distance = outcome.tensors[f"{norm}_distance"].numpy()
    wrong = truth < 1e-9
    assert (distance >= 0.9999 * truth - 1e-6).all() and np.isfinite(distance).all() and (distance[wrong] == 0).all()
    above = distance[~wrong] / truth[~wrong] - 1
    assert np.quantile(above, 0.95) < 0.01 and above.max() < 0.05, "the rival class may be the second nearest"
    rows = by_space(outcome, "robust_accuracy_at")
    for epsilon in (0.0, *RADII[norm]):
        robust = int((truth > max(epsilon, 1e-9)).sum())
        assert not ((truth <= epsilon) & (distance > epsilon)).any(), "a radius right above a distance"
        row = rows[f"{norm} {epsilon:g}"]
        assert (row["value"], row["low"], row["high"], row["n"]) == clopper_pearson(robust, 40)
    median = by_space(outcome, "median_smallest_perturbation")[norm]
    assert median["value"] == pytest.approx(np.median(truth), rel=0.01) and median["low"] <= median["high"]


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_fab_gives_the_closed_form_too(finished: Finished, norm: str) -> None:
    """It tries both rival classes by itself, so that it meets the nearest one of every image."""
    by_fab = STAGE.model_copy(update={"search": "fab", "epsilons": {norm: RADII[norm]}})
    distance = ran(finished, "softmax", by_fab).tensors[f"{norm}_distance"].numpy()
    truth = exact(finished, norm)
    assert (distance >= 0.9999 * truth - 1e-6).all()
    np.testing.assert_allclose(distance, np.where(truth < 1e-9, 0, truth), rtol=0.01)


def test_it_is_never_above_an_attack_and_falls(finished: Finished) -> None:
    attacks = ("pgd-l2-0.5", "fgsm-l2-0.5")
    alone, merged = ran(finished, "hardened", STAGE), ran(finished, "hardened", STAGE, attacks)
    assert torch.equal(alone.tensors["linf_distance"], merged.tensors["linf_distance"]), "they attacked in l2"
    reached = alone.tensors["l2_distance"]
    for label in attacks:
        found = finished.tensors("evade", "hardened", 0, label)
        robust, far = found["test_robust"][:40], found["test_distance"][:40].double().clamp(max=0.5)
        reached = torch.minimum(reached, far.masked_fill(robust, math.inf))
        assert by_space(merged, "robust_accuracy_at")["l2 0.5"]["value"] <= float(robust.double().mean())
    assert torch.equal(merged.tensors["l2_distance"], reached)
    for norm, radii in RADII.items():
        curve = [by_space(merged, "robust_accuracy_at")[f"{norm} {radius:g}"]["value"] for radius in (0, *radii)]
        assert curve == sorted(curve, reverse=True)


def test_its_rows_follow_from_what_it_keeps(finished: Finished) -> None:
    outcome = ran(finished, "softmax", STAGE)

    class Own(Context):
        def own_tensors(self) -> dict[str, torch.Tensor]:
            return outcome.tensors

    context = Own(Trial(dump("stage", STAGE), 0, {}), finished.store, settings(finished))
    assert STAGE.rederived(context) == outcome.rows


class Bright(nn.Module):
    """Class 1 where the mean is above one half."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.flatten(1).mean(1)
        return torch.stack([0.5 - mean, mean - 0.5], 1)


def test_what_an_attack_says_is_judged_anew() -> None:
    images = torch.tensor([0.2, 0.2, 0.8, 0.2]).view(4, 1, 1, 1).expand(4, 1, 2, 2)
    labels = torch.tensor([0, 0, 0, 0])
    moved = images.clone()
    moved[0], moved[1] = 0.6, 0.4
    distance = judged(Bright(), images, labels, moved, "linf", 3)
    assert distance.tolist() == pytest.approx([0.4, math.inf, 0, math.inf])
    for value, error, message in ((1.1, ValueError, "allowed: 0 to 1"), (math.nan, FloatingPointError, "NaN")):
        moved[0] = value
        with pytest.raises(error, match=message):
            judged(Bright(), images, labels, moved, "linf", 3)
