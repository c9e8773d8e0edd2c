"""Inversion, neighbors, leakage rows and controls of the tiny run, against brute force in float64."""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from finished import Finished, in_one_go, pixels
from PIL import Image

from benchmark import metrics, registry
from benchmark.metrics import Join, Metric
from benchmark.neighbors import cosine_knn
from benchmark.trials.trial import Context, Settings, Stage

Array = npt.NDArray[np.float64]
PLACES = [("softmax", 0), ("hardened", 1)]
SPACES = ("target", "evaluator", "evaluator_robust", "pixel")


def features(finished: Finished, space: str, model: str, replica: int, images: torch.Tensor) -> Array:
    """Float images (N, 1, 28, 28) in a feature space, computed from the weights alone."""
    auxiliary = pixels(finished.images.images[finished.pools.auxiliary])
    if space == "pixel":
        return (images - auxiliary.mean(0)).flatten(1).double().numpy()
    if space == "target":
        return in_one_go(finished.network(finished.key("train", model, replica)).features, images)
    judge = finished.network(finished.key("train", "", None, space)).features
    known, found = in_one_go(judge, auxiliary), in_one_go(judge, images)
    values, directions = np.linalg.eigh(np.cov(known.T))
    alive = values > 1e-10 * values.max()
    scale = np.sqrt(0.9 * values[alive] + 0.1 * values[alive].mean())
    return np.asarray((found - known.mean(0)) @ directions[:, alive] / scale)


def cosines(first: Array, second: Array) -> Array:
    norm = np.linalg.norm(first, axis=1)[:, None] * np.linalg.norm(second, axis=1)
    return np.asarray(first @ second.T / norm)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize(("model", "replica"), PLACES)
def test_neighbors_are_those_of_brute_force(finished: Finished, model: str, replica: int, space: str) -> None:
    made = finished.tensors("invert", model, replica, "gradient")["images"]
    found = finished.tensors("neighbours", model, replica, "gradient")
    queries = features(finished, space, model, replica, made)
    sides = {"in": finished.pools.members(replica), "out": finished.pools.non_members(replica)}
    for side, ids in sides.items():
        gallery = pixels(finished.images.images[ids])
        exact = cosines(queries, features(finished, space, model, replica, gallery))
        best = np.sort(exact, axis=1)[:, ::-1][:, :5]
        np.testing.assert_allclose(found[f"{space}_{side}_cosines"].numpy(), best, atol=2e-4)
        place = {int(image): column for column, image in enumerate(ids)}
        chosen = np.array([[place[int(i)] for i in row] for row in found[f"{space}_{side}_ids"]])
        np.testing.assert_allclose(np.take_along_axis(exact, chosen, 1), best, atol=2e-4)


@pytest.mark.parametrize(("place", "module"), [
    (("pools",), "benchmark.data.members.duplicates"),
    (("neighbours", "softmax", 0, "gradient"), "benchmark.stages.find_neighbors"),
])  # fmt: skip
def test_neighbors_are_searched_on_the_trials_device(
    finished: Finished, place: tuple[Any, ...], module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not on whichever GPU the machine has: it is another trial's."""
    places = []

    def search(queries: torch.Tensor, gallery: torch.Tensor, k: int, device: torch.device) -> object:
        places.append(device)
        return cosine_knn(queries, gallery, k, "cpu")

    monkeypatch.setattr(f"{module}.cosine_knn", search)
    trial = finished.store.trial(finished.key(*place))
    stage = registry.parse("stage", dict(trial.stage))
    assert isinstance(stage, Stage)
    context = Context(trial, finished.store, Settings(results="", device="cpu"))
    context.device = torch.device("cpu", 0)  # equal to no other
    outcome = stage.run(context)
    assert places and all(device is context.device for device in places)
    assert all(torch.equal(tensor, outcome.tensors[name]) for name, tensor in finished.tensors(*place).items())


@pytest.mark.parametrize(("model", "replica"), PLACES)
def test_reconstructions_and_their_confidence(finished: Finished, model: str, replica: int) -> None:
    made = finished.tensors("invert", model, replica, "gradient")
    images, targets = made["images"], made["targets"].numpy()
    assert images.shape == (12, 1, 28, 28) and 0 <= float(images.min()) and float(images.max()) <= 1
    assert targets.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    logits = in_one_go(finished.network(finished.key("train", model, replica)), images)
    shares = np.exp(logits - logits.max(1, keepdims=True))
    confidence = (shares / shares.sum(1, keepdims=True))[np.arange(12), targets]
    np.testing.assert_allclose(made["confidence"].numpy(), confidence, atol=1e-5)
    values = finished.values("invert", model, replica, "gradient")
    assert values["target_confidence"] == pytest.approx(confidence.mean(), abs=1e-5)
    assert (values["passes_per_sample"], values["forward_passes_per_sample"]) == (60, 0)


def column(finished: Finished, place: tuple[Any, ...], space: str, metric: str) -> Array:
    table = finished.store.table(finished.key(*place), "samples").to_pylist()
    return np.array([row["value"] for row in table if (row["space"], row["metric"]) == (space, metric)], dtype=float)


@pytest.mark.parametrize(("model", "replica"), PLACES)
def test_leakage_rows_are_means_of_what_was_measured(finished: Finished, model: str, replica: int) -> None:
    place = ("leakage", model, replica, "gradient")
    rows = finished.rows(*place)
    made = finished.tensors("invert", model, replica, "gradient")
    near = finished.tensors("neighbours", model, replica, "gradient")
    targets, labels = made["targets"].numpy(), finished.images.labels.numpy()
    members = finished.pools.members(replica)
    for space in SPACES:
        s_in, s_out = (near[f"{space}_{side}_cosines"][:, 0].double().numpy() for side in ("in", "out"))
        wins = np.where(np.abs(s_in - s_out) <= 1e-6, 0.5, s_in > s_out)
        own = labels[near[f"{space}_in_ids"].numpy()] == targets[:, None]
        expected = {"in_rate": wins, "cosine_nn_in": s_in, "cosine_nn_out": s_out, "memorization_gap": s_in - s_out}
        expected["neighbour_purity_at_k"] = own.mean(1)
        for metric, values in expected.items():
            np.testing.assert_allclose(column(finished, place, space, metric), values, atol=1e-9)
            row = rows[space, metric]
            assert row["value"] == pytest.approx(values.mean(), abs=1e-9)
            assert row["low"] <= row["value"] <= row["high"] and row["n"] == 12
    for space in ("evaluator", "evaluator_robust"):
        logits = in_one_go(finished.network(finished.key("train", "", None, space)), made["images"])
        assert rows[space, "evaluator_accuracy"]["value"] == pytest.approx((logits.argmax(1) == targets).mean())
        queries = features(finished, space, model, replica, made["images"])
        gallery = features(finished, space, model, replica, pixels(finished.images.images[members]))
        apart = np.linalg.norm(queries[:, None] - gallery[None], axis=2)
        apart[targets[:, None] != labels[members.numpy()][None]] = np.inf
        np.testing.assert_allclose(column(finished, place, space, "knn_distance"), apart.min(1), rtol=2e-3)
        unlike = 1 - cosines(queries, queries)
        pairs = np.triu_indices(4, 1)
        diversity = [unlike[c * 4 : c * 4 + 4, c * 4 : c * 4 + 4][pairs].mean() for c in range(3)]
        np.testing.assert_allclose(column(finished, place, space, "diversity"), diversity, atol=1e-3)
    correlation = []
    for image, target in zip(made["images"].double().numpy(), targets, strict=True):
        mean = finished.images.images[members][labels[members.numpy()] == target].double().mean(0).numpy()
        correlation.append(np.corrcoef(image.ravel(), mean.ravel())[0, 1])
    np.testing.assert_allclose(column(finished, place, "pixel", "class_mean_correlation"), correlation, atol=1e-6)


def shown(png: bytes) -> npt.NDArray[np.uint8]:
    return np.array(Image.open(io.BytesIO(png)).convert("L"))


def test_pictures_are_those_of_the_images_they_name(finished: Finished) -> None:
    place = finished.key("leakage", "hardened", 0, "gradient")
    made = finished.tensors("invert", "hardened", 0, "gradient")
    gallery = finished.store.table(place, "gallery").to_pylist()
    assert [(row["class_id"], row["sample"]) for row in gallery] == [(c, s) for c in range(3) for s in range(4)]
    for row, image in zip(gallery, made["images"][:, 0], strict=True):
        assert (shown(row["image_png"]) == (image * 255).round().numpy()).all()
        assert row["class_name"] == finished.images.class_names[row["class_id"]]
    correlations = column(finished, ("leakage", "hardened", 0, "gradient"), "pixel", "class_mean_correlation")
    assert [row["class_mean_correlation"] for row in gallery] == pytest.approx(correlations.tolist())
    pictures = finished.store.table(place, "pictures").to_pylist()
    ids = [row["image_id"] for row in pictures]
    assert ids == sorted(set(ids)), "each once"
    named = {row["image_id"] for t in ("neighbours", "exposed") for row in finished.store.table(place, t).to_pylist()}
    assert named == set(ids)
    for row in pictures:
        assert (shown(row["image_png"]) == finished.images.images[row["image_id"], 0].numpy()).all()
        assert row["class_id"] == int(finished.images.labels[row["image_id"]])
    members = finished.pools.members(0)
    for row in finished.store.table(place, "class_means").to_pylist():
        own = members[finished.images.labels[members] == row["class_id"]]
        mean = finished.images.images[own, 0].double().numpy().mean(0)
        assert np.abs(shown(row["image_png"]) - mean).max() <= 0.5 + 1e-9


@pytest.mark.parametrize(("model", "replica"), PLACES)
def test_shown_neighbors_and_exposure_by_brute_force(finished: Finished, model: str, replica: int) -> None:
    place = finished.key("leakage", model, replica, "gradient")
    near = finished.store.table(place, "neighbours").to_pylist()
    exposed = finished.store.table(place, "exposed").to_pylist()
    assert len(near) == 12 * 3 * (5 + 1)
    made = finished.tensors("invert", model, replica, "gradient")["images"]
    sides = {"in": finished.pools.members(replica), "out": finished.pools.non_members(replica)}
    for space in ("evaluator", "target", "pixel"):
        queries = features(finished, space, model, replica, made)
        for side, ids in sides.items():
            exact = cosines(queries, features(finished, space, model, replica, pixels(finished.images.images[ids])))
            rows = [row for row in near if (row["space"], row["side"]) == (space, side)]
            kept = 5 if side == "in" else 1
            assert [row["rank"] for row in rows] == list(range(1, kept + 1)) * 12
            best = np.sort(exact, axis=1)[:, ::-1][:, :kept].ravel()
            np.testing.assert_allclose([row["cosine"] for row in rows], best, atol=2e-4)
            hits: dict[int, int] = {}
            for row in rows:
                if row["rank"] == 1:
                    hits[row["image_id"]] = hits.get(row["image_id"], 0) + 1
            ranked = sorted(hits.items(), key=lambda item: (-item[1], item[0]))[:12]
            found = [row for row in exposed if (row["space"], row["side"]) == (space, side)]
            assert [(row["image_id"], row["count"]) for row in found] == ranked
            assert {(row["num_reconstructions"], row["gallery_size"]) for row in found} == {(12, 300)}


@pytest.mark.parametrize("replica", [0, 1])
def test_controls_of_the_measure(finished: Finished, replica: int) -> None:
    for space in SPACES:
        exact = finished.rows("leakage", "injected", replica, "injected_exact")
        assert exact[space, "in_rate"]["value"] == 1.0, "members, passed off as reconstructions"
        assert exact[space, "cosine_nn_in"]["value"] == pytest.approx(1.0, abs=1e-5)
        out = finished.rows("leakage", "injected", replica, "injected_out")
        assert out[space, "in_rate"]["value"] == 0.0 and out[space, "cosine_nn_out"]["value"] == pytest.approx(
            1.0, abs=1e-5
        )
    memoriser = finished.rows("leakage", "memoriser", replica, "gradient")
    assert memoriser["pixel", "in_rate"]["value"] >= 0.9
    assert memoriser["evaluator", "in_rate"]["value"] >= 0.9


@pytest.mark.filterwarnings("ignore:The image decoding and encoding capabilities:DeprecationWarning")
def test_a_metric_of_features_is_one_entry(finished: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = Metric(
        "frechet", "Frechet", metrics.INVERTIBILITY, "distance", "leakage", Join.SAMPLES, function="my_metrics:frechet"
    )
    monkeypatch.setattr(metrics, "METRICS", (*metrics.METRICS, entry))
    trial = finished.store.trial(finished.key("leakage", "softmax", 0, "gradient"))
    stage = registry.parse("stage", dict(trial.stage))
    assert isinstance(stage, Stage)
    outcome = stage.run(Context(trial, finished.store, Settings(results="")))
    made = finished.tensors("invert", "softmax", 0, "gradient")
    members = finished.pools.members(0)
    labels = finished.images.labels[members].numpy()
    for space in ("evaluator", "evaluator_robust"):
        queries = features(finished, space, "softmax", 0, made["images"])
        gallery = features(finished, space, "softmax", 0, pixels(finished.images.images[members]))
        expected = []
        for target in range(3):
            a, b = queries[made["targets"].numpy() == target], gallery[labels == target]
            expected.append(((a.mean(0) - b.mean(0)) ** 2).sum() + ((a.std(0) - b.std(0)) ** 2).sum())
        (row,) = [row for row in outcome.rows if (row["metric"], row.get("space")) == ("frechet", space)]
        assert row["value"] == pytest.approx(np.mean(expected), rel=2e-3) and row["n"] == 3
        assert row["low"] is not None and row["high"] is not None and row["low"] < row["value"] < row["high"]
    before = [row["value"] for row in finished.rows("leakage", "softmax", 0, "gradient").values()]
    others = [row["value"] for row in outcome.rows if row["metric"] != "frechet"]
    assert others == pytest.approx(before, rel=1e-5), "nothing else is measured otherwise"
