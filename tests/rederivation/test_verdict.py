"""`bench verify` derives what a page says again: an undisturbed run holds, and what was tampered with is named."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from command import Run, call, snapshot

from benchmark import stats
from benchmark.aggregation.page_tables import summarise
from benchmark.memorization import recut
from benchmark.rederivation import data_set
from benchmark.rederivation.kept import Kept
from benchmark.rederivation.verdict import verdict
from benchmark.results.store import Store
from benchmark.schema import MEASURE, PROVENANCE
from benchmark.trials.trial import Outcome

pytestmark = pytest.mark.slow


@pytest.fixture
def copy(tiny_run: Run, tmp_path: Path) -> Store:
    """A copy of a run's results, without what was joined before."""
    root = shutil.copytree(tiny_run.results, tmp_path / "results")
    for path in (root / "index").glob("aggregates-*"):
        path.unlink()
    return Store(root)


def differs(store: Store, folder: Path) -> set[str]:
    """Metrics of which a number differs."""
    summarise(store, folder, images=False, keep=False)
    return {line.metric for line in verdict(store, folder) if not line.holds}


def rewrite(
    store: Store,
    stage: str,
    rows: Callable[[list[dict[str, Any]]], None] = lambda _: None,
    tables: Callable[[dict[str, pa.Table]], None] = lambda _: None,
    tensors: Callable[[dict[str, Any]], None] = lambda _: None,
) -> None:
    """Change what the first trial of a stage wrote, of a model of the suite, and make all checksums right again."""
    (manifest,) = store.plans()
    key = next(n["key"] for n in manifest["nodes"] if n["stage"] == stage and n["model"] == "hardened")
    found = [
        {name: row[name] for name, _, _ in MEASURE if row[name] is not None} for row in store.rows(key).to_pylist()
    ]
    for row in found:
        row.pop("stage"), row.pop("method", None)
    names = [name.removesuffix(".parquet") for name in store.sizes(key) if name.endswith(".parquet")]
    kept = {name: store.table(key, name) for name in names if name != "rows"}
    arrays = store.tensors(key)
    rows(found), tables(kept), tensors(arrays)
    made = {name: store.provenance(key).get(name) for name, _, _ in PROVENANCE if name != "trial_key"}
    store.write(store.trial(key), Outcome(rows=found, tables=kept, tensors=arrays), made)  # type: ignore[arg-type]


def raised(metric: str) -> Callable[[list[dict[str, Any]]], None]:
    """Adds one image's worth to the first row of a metric."""

    def change(rows: list[dict[str, Any]]) -> None:
        row = next(row for row in rows if row["metric"] == metric)
        row["value"] += 0.01

    return change


def test_an_undisturbed_run_holds_and_nothing_is_written(tiny_run: Run) -> None:
    before = snapshot(tiny_run.results)
    done = call("verify", "--results", tiny_run.results)
    assert done.exit_code == 0 and "DIFFERS" not in done.output, done.output
    assert snapshot(tiny_run.results) == before
    shown = {words[0]: int(words[1]) for line in done.output.splitlines() if len(words := line.split()) == 4}
    for metric in ("clean_accuracy", "robust_accuracy", "in_rate", "membership_auc", "memorization_mean"):
        assert shown[metric] >= 6, done.output
    assert "tpr_at_1pct_fpr" in shown and "in_rate_power 10" in done.output
    assert any(line.startswith("nearest images, pixels") for line in done.output.splitlines())


def test_numbers_with_right_checksums_that_do_not_follow_are_named(copy: Store) -> None:
    """One row of six trials each; the code that made them would see the same, of those that it looks at."""
    rewrite(copy, "evade", raised("mean_distance"))
    rewrite(copy, "predict", raised("non_member_accuracy"))
    rewrite(copy, "leakage", raised("exposure_effective_number"))
    rewrite(copy, "infer_membership", raised("membership_auc"))
    rewrite(copy, "memorization", raised("memorized_share"))
    rewrite(copy, "invert", raised("target_confidence"))
    done = call("verify", "--results", copy.root)
    named = {line.split()[0] for line in done.output.splitlines() if "DIFFERS: hardened" in line}
    wanted = {"mean_distance", "non_member_accuracy", "exposure_effective_number", "membership_auc"}
    assert done.exit_code == 1 and named == wanted | {"memorized_share", "target_confidence"}, done.output


def test_raw_output_that_was_changed_is_named(copy: Store, tmp_path: Path) -> None:
    """A score of one image, a cosine of one neighbour, a distance out of the ball, one image's memorisation."""

    def of(name: str, column: str, value: float) -> Callable[[dict[str, pa.Table]], None]:
        def change(tables: dict[str, pa.Table]) -> None:
            values = tables[name][column].to_pylist()
            place = next(i for i, found in enumerate(values) if found is not None)
            values[place] += value
            at = tables[name].column_names.index(column)
            tables[name] = tables[name].set_column(at, column, pa.array(values, pa.float64()))

        return change

    def nearer(tensors: dict[str, Any]) -> None:
        tensors["pixel_in_cosines"][0, -1] -= 0.001

    def farther(tensors: dict[str, Any]) -> None:
        tensors["test_distance"][0] = 0.6

    rewrite(copy, "infer_membership", tables=of("scores", "score", 1e-4))
    rewrite(copy, "memorization", tables=of("memorization", "margin_gap", 1e-4))
    rewrite(copy, "neighbours", tensors=nearer)
    rewrite(copy, "evade", tensors=farther)
    found = differs(copy, tmp_path / "site")
    assert found >= {"membership score, each image", "margin_gap, each image", "nearest images, pixels"}
    assert found >= {"distance outside the ball", "mean_distance"}
    assert not found & {"robust_accuracy", "membership_balanced_accuracy", "exposure_gini"}


IMAGES = {f"adversarial image{rest}" for rest in ("s", " outside [0, 1]", " outside its ball")}


@pytest.mark.parametrize(
    ("pool", "change", "wanted"),
    [
        ("test", lambda images: images[1:], {"adversarial images"}),
        ("members", lambda images: images + 1.5e-5 * (images == images.max()), {"adversarial image outside [0, 1]"}),
        ("test", lambda images: images.flip(0), {"adversarial image outside its ball"}),
        ("members", lambda images: images.clamp(0.1), {"adversarial image outside its ball"}),
        (
            "test",
            lambda images: images / images,
            {"adversarial image outside [0, 1]", "adversarial image outside its ball"},
        ),
    ],
    ids=["one lost", "brighter than 1", "of other images", "moved", "no number"],
)
def test_adversarial_images_speak_for_themselves(
    copy: Store, tmp_path: Path, pool: str, change: Callable[[Any], Any], wanted: set[str]
) -> None:
    def of_images(tensors: dict[str, Any]) -> None:
        name = f"{pool}_adversarial"
        tensors[name] = change(tensors[name]).contiguous()

    rewrite(copy, "evade", tensors=of_images)
    assert differs(copy, tmp_path / "site") & IMAGES == wanted


def test_without_the_data_set_the_box_is_what_is_left(tiny_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_set, "read", lambda *_: None)
    shown = " ".join(call("verify", "--results", tiny_run.results).output.split())
    assert "adversarial image outside [0, 1] 12" in shown and "adversarial image outside its ball 8" in shown


def test_of_trials_that_kept_no_images_it_is_said(copy: Store) -> None:
    rewrite(copy, "evade", tensors=lambda tensors: tensors.pop("test_adversarial"))
    done = call("verify", "--results", copy.root, "--models")
    assert done.exit_code == 0 and "adversarial image outside its ball 1" in done.output, done.output


def test_adversarial_images_fool_their_networks_again(copy: Store, tiny_run: Run) -> None:
    done = call("verify", "--results", tiny_run.results, "--models")
    (line,) = (line for line in done.output.splitlines() if line.endswith("passed through their networks again"))
    assert done.exit_code == 0 and int(line.split()[0]) > 50, done.output
    assert "not passed again" not in done.output

    (manifest,) = copy.plans()
    data = data_set.read(Kept(copy, manifest, {node["key"] for node in manifest["nodes"]}), None)
    assert data is not None

    def as_before_the_attack(tensors: dict[str, Any]) -> None:
        fooled = tensors["test_ids"][tensors["test_clean"] & ~tensors["test_robust"]]
        pixels = torch.from_numpy(data.pixels[data.num_training + fooled.numpy()]) / 255
        tensors["test_adversarial"] = pixels.view_as(tensors["test_adversarial"])

    rewrite(copy, "evade", tensors=as_before_the_attack)
    done = call("verify", "--results", copy.root, "--models")
    (line,) = (line for line in done.output.splitlines() if line.startswith("adversarial images are judged right"))
    assert done.exit_code == 1 and "DIFFERS: hardened" in line, done.output


def test_wrong_statistics_are_found(copy: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is off by little; what does not come from it holds."""

    def wrong(place: Any, name: str, by: Callable[[Any], Any]) -> None:
        right = getattr(place, name)
        monkeypatch.setattr(place, name, lambda *given, **more: by(right(*given, **more)))

    wrong(stats, "counted_rate", lambda found: found._replace(value=found.value - 1e-5))
    wrong(stats, "replicated_auc", lambda found: found._replace(value=found.value + 1e-5))
    wrong(stats, "share_interval", lambda found: found._replace(value=found.value + 1e-5))
    wrong(recut, "aucs", lambda found: np.r_[found[0] + 0.03, found[1:]])
    wrong(recut, "gaps", lambda found: found + 0.05)
    found = differs(copy, tmp_path / "site")
    assert found >= {"clean_accuracy", "robust_accuracy", "membership_auc", "membership_auc_p_value", "in_rate"}
    assert found >= {"in_rate_p_value", "memorization_gap_p_value"}
    assert not found & {"generalization_gap", "memorization_gap", "empirical_epsilon", "exposure_gini", "diversity"}


def test_output_of_another_shape_differs(copy: Store, tmp_path: Path) -> None:
    rewrite(copy, "query", tensors=lambda tensors: tensors.pop("margins"))
    assert "raw output for membership" in differs(copy, tmp_path / "site")
