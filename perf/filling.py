"""A suite of any number of trials, and a results folder that is filled as if all of them had been run.

What the trials say is made up; how it is stored is what a run stores: the same files, columns and numbers of rows.
"""

import os
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from benchmark.planning.plan import Node, Plan
from benchmark.results.store import Store
from benchmark.stages.shared import image_values
from benchmark.stages.shared.samples import SCHEMA
from benchmark.trials.trial import Outcome, Row

REPLICAS, CLASSES, SAMPLES, EVASIONS = 4, 10, 8, 10
SPACES = ("target", "evaluator", "evaluator_robust", "pixel")
PRIVATE, NEIGHBOURS = 1000, 50
"""Private images, half of which are members; lengths of the lists of neighbours."""
_INVERSIONS = (
    {"method": "gradient"},
    {"method": "gradient", "step": "sign"},
    {"method": "gradient", "step": "adam"},
    {"method": "gradient", "start": "class_gaussian"},
)
MADE = {
    "git_commit": "0" * 40, "versions": "python 3.11.7, torch 2.14.0, numpy 2.4.0, pyarrow 25.0.0", "device": "made up",
    "host": "0" * 12, "threads": 1, "gpu_s": 0.0, "created_utc": "2026-01-01T00:00:00.000+00:00",
}  # fmt: skip
_SAMPLED = {
    "": ("target_confidence",),
    "target": ("cosine_nn_in", "cosine_nn_out", "in_rate", "memorization_gap", "neighbour_purity_at_k"),
    "pixel": (
        "class_mean_correlation", "cosine_nn_in", "cosine_nn_out", "in_rate", "memorization_gap",
        "neighbour_purity_at_k",
    ),
} | {
    space: (
        "evaluator_accuracy", "knn_distance", "diversity", "vendi_score", "cosine_nn_in", "cosine_nn_out", "in_rate",
        "memorization_gap", "neighbour_purity_at_k",
    )
    for space in ("evaluator", "evaluator_robust")
}  # fmt: skip
"""Space -> metrics of a reconstruction, as `stages/leakage.py` writes them."""


def suite(num_trials: int, num_inversions: int = 4, name: str = "scale") -> dict[str, Any]:
    """About `num_trials` trials of many models, as plain data for YAML: 15 + 3 `num_inversions` a trained model."""
    a_model = REPLICAS * (5 + EVASIONS + 3 * num_inversions)
    widths = [{"method": "small_resnet", "width": width} for width in (4, 8, 12, 16)]
    radii = {"l2": (0.5, 1.0, 1.5, 2.0), "linf": (0.05, 0.1, 0.2, 0.5)}
    evasion = [{"method": "pgd", "norm": norm, "epsilon": e} for norm, found in radii.items() for e in found]
    evasion += [{"method": "fgsm", "norm": "l2", "epsilon": 1.5}, {"method": "fgsm", "norm": "linf", "epsilon": 0.1}]
    judge = {"architecture": "small_vgg", "regime": {"method": "standard", "epochs": 6}}
    return {
        "name": name,
        "data": "fashion_mnist_13k",
        "replicas": REPLICAS,
        "pools": {"auxiliary": 0.27, "num_members": 4000},
        "models": [
            {
                "name": f"model-{index:04}",
                "architecture": widths[index % len(widths)],
                "regime": {"method": "standard", "epochs": 10, "lr": round(0.01 + index * 1e-5, 5)},
            }
            for index in range(max(1, num_trials // a_model))
        ],
        "evaluators": {"standard": judge, "robust": {**judge, "architecture": "small_resnet"}},
        "evasion": evasion,
        "inversion": [{**attack, "samples_per_class": SAMPLES} for attack in _INVERSIONS[:num_inversions]],
        "membership": ["loss_threshold"],
        "evaluation": {"num_images": 500, "num_members": 250},
    }


def outcome(node: Node) -> Outcome:
    """Rows and tables of the trial's stage, with values that depend on its key."""
    rng = np.random.default_rng(int(node.key[:8], 16))
    match node.stage:
        case "train":
            losses = [Row(metric=f"train_loss_epoch_{e + 1}", value=float(v)) for e, v in enumerate(rng.random(10))]
            return Outcome([Row(metric="num_trained_on", value=4000.0), *losses])
        case "predict":
            rates = [_rate(rng, m, 2000) for m in ("clean_accuracy", "member_accuracy", "non_member_accuracy")]
            gap = Row(metric="generalization_gap", value=0.1, low=0.0, high=0.2, n=6000)
            return Outcome([*rates, gap], {"is_member": torch.from_numpy(_inside(node)), "correct": _coins(rng)})
        case "evade":
            rates = [_rate(rng, m, 500) for m in ("robust_accuracy", "attack_success_rate", "robust_accuracy_members")]
            curve = pa.table({"step": range(20), "loss": np.sort(rng.random(20))})
            return Outcome([*rates, Row(metric="mean_distance", value=1.0, n=500)], tables={"curve": curve})
        case "leakage":
            return _leakage(rng)
        case "infer_membership":
            found = [_rate(rng, m, 500) for m in ("tpr_at_1pct_fpr", "tpr_at_0_1pct_fpr")]
            found += [_rate(rng, m, 1000) for m in ("membership_auc", "membership_balanced_accuracy")]
            ids, every = np.arange(PRIVATE), np.ones(PRIVATE, dtype=bool)
            named = {"image_id": ids, "label": ids % CLASSES, "group": ids}
            scored = {"score": rng.random(PRIVATE), "is_member": _inside(node), "judged": every}
            return Outcome(found, tables={"scores": pa.table(named | scored)})
        case "invert":
            metrics = ("target_loss", "target_confidence", "target_accuracy")
            return Outcome([_rate(rng, metric, CLASSES * SAMPLES) for metric in metrics])
        case "pools":
            ids = torch.arange(PRIVATE)
            return Outcome(tensors={"private": ids, "label": ids % CLASSES, "group": ids.clone()})
        case "neighbours":
            return Outcome(tensors=_neighbors(node, rng))
        case "memorization":
            ids = np.arange(PRIVATE)
            columns = {field.name: np.full(PRIVATE, 2) for field in image_values.SCHEMA}
            columns |= {"image_id": ids, "group": ids, "class_id": ids % CLASSES, "memorization": rng.random(PRIVATE)}
            table = pa.table(columns).select(image_values.SCHEMA.names).cast(image_values.SCHEMA)
            return Outcome([Row(metric="memorization_mean", value=0.5, n=PRIVATE)], tables={"memorization": table})
        case _:
            return Outcome()


def _inside(node: Node) -> "np.typing.NDArray[np.bool_]":
    """(PRIVATE,): the members of a replica; the two of a pair are complements."""
    first: np.typing.NDArray[np.bool_] = np.arange(PRIVATE) < PRIVATE // 2
    return ~first if (node.replica or 0) % 2 else first


def _coins(rng: np.random.Generator) -> torch.Tensor:
    return torch.from_numpy(rng.random(PRIVATE) < 0.5)


def _neighbors(node: Node, rng: np.random.Generator) -> dict[str, torch.Tensor]:
    found, shape = {}, (CLASSES * SAMPLES, NEIGHBOURS)
    for space in SPACES:
        for side, images in (("in", _inside(node)), ("out", ~_inside(node))):
            own = np.flatnonzero(images)
            found[f"{space}_{side}_ids"] = torch.from_numpy(
                own[rng.random((shape[0], len(own))).argsort()[:, : shape[1]]]
            )
            found[f"{space}_{side}_cosines"] = torch.from_numpy(-np.sort(-rng.random(shape))).float()
    return found


def _rate(rng: np.random.Generator, metric: str, n: int, space: str = "") -> Row:
    hits = int(rng.integers(n))
    return Row(space=space, metric=metric, value=hits / n, low=max(0.0, hits / n - 0.05), high=1.0, n=n)


def _leakage(rng: np.random.Generator) -> Outcome:
    places = [(space, metric) for space, metrics in _SAMPLED.items() for metric in metrics]
    num = CLASSES * SAMPLES
    columns = {
        "class_id": np.tile(np.repeat(np.arange(CLASSES), SAMPLES), len(places)),
        "sample": np.tile(np.arange(SAMPLES), CLASSES * len(places)),
        "space": [space for space, _ in places for _ in range(num)],
        "metric": [metric for _, metric in places for _ in range(num)],
        "value": np.round(rng.random(num * len(places)) * (1 - 1e-9)),
    }
    keep = (columns["sample"] == 0) | ~np.isin(columns["metric"], ("diversity", "vendi_score"))
    rows = [_rate(rng, metric, num, space) for space, metric in places]
    for space in SPACES:
        names = ("exposure_gini", "exposure_effective_number", "distance_ratio")
        rows += [Row(space=space, metric=name, value=float(rng.random()), n=num) for name in names]
    return Outcome(rows, tables={"samples": pa.table(columns, schema=SCHEMA).filter(pa.array(keep))})


def fill(store: Store, plan: Plan, processes: int = 2) -> None:
    """Write every trial of `plan` that has no result through the store, by several processes.

    Nothing is forced to disk, which a run does for every file: a store that is lost here is filled again.
    """
    done = store.scan()[0]
    missing = [node for node in {node.key: node for node in plan.nodes}.values() if node.key not in done]
    parts = [(str(store.root), missing[start::processes]) for start in range(processes)]
    with get_context("spawn").Pool(processes) as pool:
        for _ in pool.imap_unordered(_write, parts):
            pass


def _write(part: tuple[str, list[Node]]) -> None:
    os.fsync = lambda descriptor: None  # in this process, which does nothing else
    store = Store(part[0])
    for node in part[1]:
        store.write(node.trial, outcome(node), {**MADE, "wall_s": 1.0})


def files(root: Path) -> Iterator[int]:
    """Bytes of every file below `root`."""
    for folder, _, names in os.walk(root):
        yield from (Path(folder, name).stat().st_size for name in names)
