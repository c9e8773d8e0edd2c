"""A synthetic site folder: plausible numbers, small images, a hostile name, failures, a suite in mid-run.

`python tests/leaderboard/site_fixture.py FOLDER` writes it and builds the page, to look at.
"""

import hashlib
import math
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmark import schema

HOSTILE = "<img src=x onerror=alert(1)>"
SUITE, RUNNING = "quick", "cifar & co"
CLASSES = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Boot")
WRONG = ("injected_noisy", "target")
FAILED = "small_vgg_dp"
PGD = "pgd linf 0.1, 20 steps"
METHODS = {"evade": PGD, "invert": "gradient", "leakage": "gradient", "infer_membership": "strongest"}
FAILURE = "ValueError: loss is NaN at epoch 3; lower learning_rate"
MASKED_NOTE = "fgsm (71.0%) leaves fewer images right than pgd (74.1%)"
NO_TPR = "1000 non-members cannot resolve a false-positive rate of 0.1%"

# model: architecture, regime, norm, epsilon, clean, robust, evaluator, in_rate, in_rate_target, auc, generalization gap
MODELS: dict[str, tuple[Any, ...]] = {
    "softmax_regression": (
        "softmax_regression",
        "standard",
        None,
        None,
        0.823,
        0.011,
        0.310,
        0.494,
        0.512,
        0.521,
        0.018,
    ),
    "small_vgg": ("small_vgg", "standard", None, None, 0.884, 0.000, 0.214, 0.506, 0.611, 0.588, 0.071),
    "small_resnet": ("small_resnet", "standard", None, None, 0.877, 0.002, 0.282, 0.511, 0.640, 0.602, 0.083),
    "small_resnet_pgd_at": ("small_resnet", "pgd_at", "linf", 0.1, 0.799, 0.704, 0.861, 0.523, 0.702, 0.641, 0.062),
    HOSTILE: ("small_resnet", "pgd_at", "linf", 8 / 255, 0.841, 0.512, 0.742, 0.519, 0.688, 0.633, 0.074),
    FAILED: ("small_vgg", "dp_sgd", None, None, 0.761, None, None, None, None, 0.508, 0.012),
}
HANDED_IN = "given linf 0.1, by <b>ann</b>"
GAPS = {"small_resnet_pgd_at": 0.034, "small_resnet": 0.001}
"""By how much the primary attack is beaten."""
HALF = {"knn_distance": 0.4, "membership_auc": 0.012, "in_rate": 0.035, "in_rate_target": 0.04, "in_rate_pixel": 0.04}


def png(pixels: np.ndarray) -> bytes:
    """pixels: (H, W) in [0, 1]."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    grey = (255 * np.clip(pixels, 0, 1)).astype(np.uint8)
    lines = b"".join(b"\0" + line.tobytes() for line in grey)
    head = struct.pack(">IIBBBBB", grey.shape[1], grey.shape[0], 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def picture(class_id: int, variant: int, noise: float) -> np.ndarray:
    """A shape that depends on the class, moved a little by the variant, under noise; (28, 28)."""
    rng = np.random.default_rng(1000 * class_id + variant)
    y, x = np.mgrid[-1:1:28j, -1:1:28j]
    dx, dy, angle = *rng.normal(0, 0.08, 2), 0.3 * class_id
    u = (x - dx) * math.cos(angle) + (y - dy) * math.sin(angle)
    v = (y - dy) * math.cos(angle) - (x - dx) * math.sin(angle)
    power = 2 + class_id % 4
    body = np.abs(u / (0.35 + 0.05 * (class_id % 5))) ** power + np.abs(v / 0.75) ** power
    shade = 0.8 + 0.2 * np.sin(9 * u + class_id)
    return (1 - noise) * shade / (1 + np.exp(np.minimum(12 * (body - 1), 50))) + noise * rng.random((28, 28))


def best_known(model: str, robust: float | None) -> float | None:
    return None if robust is None else robust - GAPS.get(model, 0.0)


def leaderboard_row(suite: str, model: str) -> dict[str, Any]:
    architecture, regime, norm, epsilon, clean, robust, evaluator, in_rate, in_target, auc, gap = MODELS[model]
    done = evaluator is not None
    measures = {
        "clean_accuracy": clean,
        "robust_accuracy": robust,
        "best_known_robust_accuracy": best_known(model, robust),
        "attack_gap": GAPS.get(model, 0.0) if done else None,
        "evaluator_accuracy": evaluator,
        "generalization_gap": gap,
        "robust_generalization_gap": gap * 1.7 if done else None,
        "in_rate": in_rate,
        "in_rate_target": in_target,
        "in_rate_pixel": 0.5 + (in_rate - 0.5) / 2 if done else None,
        "membership_auc": auc,
        "tpr_at_1pct_fpr": 0.01 + (auc - 0.5) / 8,
        "tpr_at_0_1pct_fpr": None,
        "knn_distance": 6.1 - 3 * evaluator if done else None,
        "class_mean_correlation": evaluator / 2 if done else None,
    }
    row: dict[str, Any] = dict.fromkeys(schema.LEADERBOARD.names)
    for name, value in measures.items():
        half = HALF.get(name, 0.018)
        row[name] = value
        if value is not None:
            row[f"{name}_low"] = value - min(half, value * 0.6)
            row[f"{name}_high"] = value + half
    row |= {
        "suite": suite,
        "model": model,
        "architecture": architecture,
        "regime": regime,
        "train_norm": norm,
        "train_epsilon": epsilon,
        "num_replicas": 2,
        "num_members": 4500,
        "masking_suspected": model == HOSTILE,
        "controls_passed": False,
        "pareto": model in ("small_vgg", "small_resnet", "small_resnet_pgd_at", HOSTILE),
        "pareto_note": "of a, b; but its membership AUC, 0.641, is the largest of the suite"
        if model == "small_resnet_pgd_at"
        else "of a, b",
        "primary_inversion": "gradient",
        "wall_s": 31.25,
        "gpu_s": 0.0,
        "gpu_hours": 1.5,
        "cost": None if model == HOSTILE else 1234.5,
        "currency": "USD",
        "git_commit": "0123abc",
        "suite_hash": "ab" * 32,
        "created_utc": "2025-01-01T00:00:00Z",
    }
    if done:
        row |= {"eval_norm": "linf", "eval_epsilon": 0.1, "target_confidence": 0.97, "diversity": 0.31 + evaluator / 4}
        row |= {"cosine_nn_in": 0.88, "cosine_nn_out": 0.86, "neighbour_purity_at_k": 0.9 * evaluator}
        row |= {"exposure_gini": math.nan if model == "small_vgg" else 0.42}
    return row


RANKED = {
    "clean_accuracy": "up", "robust_accuracy": "up", "evaluator_accuracy": "down", "membership_auc": "down",
    "generalization_gap": "down", "knn_distance": "up",
}  # fmt: skip


def places() -> list[dict[str, Any]]:
    """Models are told apart where their intervals do not overlap."""
    rows = []
    for metric, better in RANKED.items():
        lines = [line for m in MODELS if (line := leaderboard_row(SUITE, m))[metric] is not None]
        ends = {line["model"]: (line[f"{metric}_low"], line[f"{metric}_high"]) for line in lines}
        for model, (low, high) in ends.items():
            above = [other for other, (least, _) in ends.items() if least > high]
            below = [other for other, (_, most) in ends.items() if most < low]
            ahead, behind = (above, below) if better == "up" else (below, above)
            tied = [other for other in ends if other not in (*above, *below, model)]
            place = {"best": 1 + len(ahead), "worst": len(ends) - len(behind), "num_tied": len(tied), "tied": tied}
            rows.append({"suite": SUITE, "model": model, "metric": metric} | place)
    return rows


def comparisons() -> list[dict[str, Any]]:
    """The first model against every other."""
    first, *others = (leaderboard_row(SUITE, m) for m in MODELS)
    return [
        {"suite": SUITE, "metric": "membership_auc", "model": first["model"], "other": other["model"]}
        | {"difference": (d := first["membership_auc"] - other["membership_auc"]), "low": d - 0.02, "high": d + 0.02}
        | {"p_value": 0.001, "p_holm": 0.0002 if abs(d) > 0.02 else 0.4, "paired": True}
        for other in others
    ]


def result(suite: str, model: str | None, replica: int | None, **measure: Any) -> dict[str, Any]:
    key = None if replica is None else hashlib.sha256(f"{model} {replica} {measure['stage']}".encode()).hexdigest()
    row: dict[str, Any] = dict.fromkeys(schema.RESULTS.names)
    return row | {"suite": suite, "model": model, "replica": replica, "trial_key": key} | measure


def results() -> list[dict[str, Any]]:
    stages = {"clean_accuracy": "predict", "robust_accuracy": "evade", "membership_auc": "infer_membership"}
    rows = []
    for model in MODELS:
        values = leaderboard_row(SUITE, model)
        for name in ("clean_accuracy", "robust_accuracy", "evaluator_accuracy", "membership_auc"):
            stage = stages.get(name, "leakage")
            for replica in (None, 0, 1) if values[name] is not None else ():
                shift = 0.0 if replica is None else 0.004 * (2 * replica - 1)
                low, high = values[f"{name}_low"], values[f"{name}_high"]
                measure = {"metric": name, "value": values[name] + shift, "low": low, "high": high, "n": 2000}
                rows.append(result(SUITE, model, replica, stage=stage, method=METHODS.get(stage, ""), **measure))
        rows.append(
            result(
                SUITE,
                model,
                None,
                stage="infer_membership",
                method="strongest",
                metric="tpr_at_0_1pct_fpr",
                note=NO_TPR,
            )
        )
    for model, gap in GAPS.items():
        shares = {"beats_primary": gap, "loses_to_primary": 0.25, "robust_accuracy": 0.95}
        place = {"stage": "evade", "method": HANDED_IN}
        rows += [result(SUITE, model, None, metric=name, value=share, **place) for name, share in shares.items()]
        note = "handed in: 37 of the 1000 images; the others are clean"
        rows.append(result(SUITE, model, 0, metric="robust_accuracy", value=0.95, note=note, **place))
        rows.append(result(SUITE, model, None, stage="evade", method=PGD, metric="attack_gap", value=gap))
    rows.append(result(SUITE, HOSTILE, None, stage="masking", metric="masking_suspected", value=1.0, note=MASKED_NOTE))
    note = f"the two evaluators differ by 0.2 on {HOSTILE}"
    rows.append(
        result(
            SUITE,
            HOSTILE,
            None,
            stage="leakage",
            method="gradient",
            space="",
            metric="evaluator_accuracy",
            value=0.742,
            note=note,
        )
    )
    return rows + control_results()


def control_results() -> list[dict[str, Any]]:
    expected = {
        "memoriser": (0.97, "in_rate near 1"),
        "untrained": (0.51, "in_rate 0.5 within its interval"),
        "injected_exact": (1.0, "in_rate 1"),
        "injected_noisy": (0.93, "in_rate 1"),
        "injected_out": (0.0, "in_rate 0"),
        "injected_auxiliary": (0.497, "in_rate 0.5 within its interval"),
    }
    rows = []
    for method, (rate, note) in expected.items():
        for space in ("evaluator", "target", "pixel"):
            low, high = max(0.0, rate - 0.03), min(1.0, rate + 0.03)
            measure = {"metric": "in_rate", "value": rate, "low": low, "high": high, "space": space}
            rows.append(result(SUITE, method.partition("_")[0], None, stage="control", method=method, **measure))
            passed = {"metric": "passed", "value": float((method, space) != WRONG), "space": space, "note": note}
            rows.append(result(SUITE, method.partition("_")[0], None, stage="control", method=method, **passed))
    return rows


SPACES = ("target", "evaluator")
SHOWN_MODELS = ("small_resnet", "small_resnet_pgd_at", HOSTILE)
TRAINING = 40
"""Images of either side; member i and non-member TRAINING + i have class i modulo the classes."""


def attacked() -> list[dict[str, Any]]:
    """Labels of every attacked replica: the second attack and the second replica are not everywhere."""
    places = [("gradient", 0), ("gradient", 1), ("multiscale", 0)]
    return [
        {"suite": SUITE, "model": model, "replica": replica, "method": method}
        for model in SHOWN_MODELS
        for method, replica in places[: 2 if model == "small_resnet" else 3]
    ]


def class_name(class_id: int) -> str:
    return HOSTILE if class_id == 0 else CLASSES[class_id]


def gallery(samples: int) -> list[dict[str, Any]]:
    return [
        {
            **labels,
            "class_id": class_id,
            "class_name": class_name(class_id),
            "sample": sample,
            "target_confidence": 0.98,
            "evaluator_correct": bool(labels["model"] != "small_resnet" or sample == 0),
            "class_mean_correlation": 0.1 * class_id,
            "image_png": png(
                picture(class_id, sample + 10 * labels["replica"], 0.85 if labels["model"] == "small_resnet" else 0.2)
            ),
        }
        for labels in attacked()
        for class_id in range(len(CLASSES))
        for sample in range(samples)
    ]


def neighbors(samples: int) -> list[dict[str, Any]]:
    """Five members of each reconstruction, the second of another class, and one non-member."""
    rows = []
    for labels in attacked():
        for space in SPACES:
            for class_id in range(len(CLASSES)):
                for sample in range(samples):
                    place = {**labels, "space": space, "class_id": class_id, "sample": sample}
                    top = 0.9 - 0.01 * sample - 0.1 * (space == "target") - 0.02 * labels["replica"]
                    for rank in range(1, 6):
                        image = (class_id + 10 * rank + (rank == 2)) % TRAINING
                        found = {"side": "in", "rank": rank, "image_id": image, "cosine": top - 0.01 * rank}
                        rows.append({**place, **found})
                    cosine = top - 0.005 if class_id % 2 else top - 0.05
                    rows.append({**place, "side": "out", "rank": 1, "image_id": TRAINING + class_id, "cosine": cosine})
    return rows


def exposed() -> list[dict[str, Any]]:
    sizes = {"num_reconstructions": 80, "gallery_size": 4000}
    return [
        {**labels, "space": space, "side": side, "rank": rank, "image_id": first + rank, "count": 10 - rank, **sizes}
        for labels in attacked()
        for space in SPACES
        for side, first in (("in", 0), ("out", TRAINING))
        for rank in (1, 2, 3)
    ]


def class_means() -> list[dict[str, Any]]:
    return [
        {**labels, "class_id": i, "class_name": class_name(i), "image_png": png(picture(i, 0, 0.05))}
        for labels in attacked()
        for i in range(len(CLASSES))
    ]


def pictures() -> list[dict[str, Any]]:
    """Every image that is named; the one of member 10 is no PNG."""
    return [
        {
            "suite": SUITE,
            "image_id": i,
            "class_id": i % 10,
            "class_name": HOSTILE if i == 1 else CLASSES[i % 10],
            "image_png": b"not a png" if i == 10 else png(picture(i % 10, 100 + i, 0)),
        }
        for i in range(2 * TRAINING)
    ]


def trial(suite: str, model: str, replica: int | None, stage: str, state: str, error: str | None) -> dict[str, Any]:
    row = {"suite": suite, "model": model, "replica": replica, "stage": stage, "method": METHODS.get(stage, "")}
    return row | {"trial_key": "cd" * 32, "state": state, "error": error}


def status() -> list[dict[str, Any]]:
    rows = [trial(SUITE, m, r, "train", "done", None) for m in MODELS for r in (0, 1)]
    rows += [trial(SUITE, FAILED, r, s, "failed", FAILURE) for r in (0, 1) for s in ("evade", "invert")]
    return rows + [trial(RUNNING, m, r, "train", "missing", None) for m in ("resnet18", "vgg16") for r in (0, 1)]


def suites() -> list[dict[str, Any]]:
    row: dict[str, Any] = {
        "suite": SUITE,
        "suite_hash": "ab" * 32,
        "suite_path": "suites/quick.yaml",
        "yaml": f"data: fashion_mnist_13k\nmodels: ['{HOSTILE}']  # </script><script>alert(1)</script>\n",
        "included": [
            {
                "path": "my methods/own.py",
                "sha256": "cd" * 32,
                "text": f"# {HOSTILE}\n# </pre></details><script>alert(2)</script>\n",
            },
            {"path": HOSTILE, "sha256": "ef" * 32, "text": None},
        ],
        "older": [],
        "data": "Fashion-MNIST, 13,000 of 70,000 images, MIT, zalandoresearch",
        "num_replicas": 2,
        "primary_evasion": PGD,
        "primary_inversion": "gradient",
        "primary_membership": "strongest",
        "hardware": "2 x x86-64 cores, no GPU",
        "versions": "python 3.11.2, torch 2.15.0, faiss 1.15.1",
        "git_commit": "0123abc",
        "num_trials": 96,
        "num_done": 92,
        "num_failed": 4,
        "gpu_hours": 9.25,
        "cost": 4321.0,
        "currency": "USD",
        "created_utc": "2025-01-01T00:00:00Z",
    }
    waiting: dict[str, Any] = {
        "suite": RUNNING,
        "suite_path": "suites/my cifar.yaml",
        "num_trials": 80,
        "num_done": 3,
        "num_failed": 0,
    }
    waiting["older"] = [f"results of version 1 of {HOSTILE} are there; this is version 2: run it again"]
    return [row, dict.fromkeys(row) | waiting | {"data": "CIFAR-10", "num_replicas": 2}]


MEMORISING = "small_resnet_pgd_at"
"""The one model of which single images were looked at; its images 0 to TRAINING - 1 have pictures."""


def images() -> list[dict[str, Any]]:
    """Image i has memorisation 1 - i / 200, up to noise in all else; the last one was never trained on."""
    rng = np.random.default_rng(0)
    found = []
    for i in range(240):
        row: dict[str, Any] = dict.fromkeys(schema.IMAGES.names)
        value = None if i == 239 else 1 - i / 200
        row |= {"suite": SUITE, "model": MEMORISING, "inversion": "gradient", "image_id": i, "class_id": i % 10}
        row |= {"memorization": value, "memorization_error": 0.12, "margin_gap": 3.0, "num_in": 9, "num_out": 9}
        row |= {
            "membership_attack": "lira",
            "membership_score": min(1.0, 0.4 + 0.4 * (value or 0) + 0.2 * rng.random()),
        }
        row |= {"exposure_pixel": int(rng.poisson(1 + 2 * abs(value or 0))), "exposure_out_pixel": int(rng.poisson(1))}
        found.append(row)
    return found


def correlations() -> list[dict[str, Any]]:
    place = {"stage": "memorization", "n": 239, "low": 0.09, "value": 0.21, "high": 0.33, "space": "pixel"}
    names = ("memorization_exposure", "memorization_exposure_gap", "memorization_membership")
    rows = [result(SUITE, MEMORISING, None, metric=name, method="gradient", **place) for name in names]
    share = {"metric": "memorized_share", "value": 0.31, "low": 0.25, "high": 0.37, "n": 239}
    return [*rows, result(SUITE, MEMORISING, None, stage="memorization", method="", space="", **share)]


def curves() -> list[dict[str, Any]]:
    rates = np.geomspace(1 / 1000, 1, 40)
    powers = {"lira": 0.35, "loss_threshold": 0.8, HOSTILE: 1.0}
    return [
        {"suite": SUITE, "model": MEMORISING, "method": method, "fpr": float(f), "tpr": float(f**power)}
        for method, power in powers.items()
        for f in rates
    ]


def write(site: Path, *, samples: int = 2) -> Path:
    """Write the Parquet files into `site`."""
    site.mkdir(parents=True, exist_ok=True)
    waiting = [dict.fromkeys(schema.LEADERBOARD.names) | {"suite": RUNNING, "model": m} for m in ("resnet18", "vgg16")]
    tables = {
        "leaderboard": (schema.LEADERBOARD, [leaderboard_row(SUITE, m) for m in MODELS] + waiting),
        "results": (schema.RESULTS, results() + correlations()),
        "images": (schema.IMAGES, images()),
        "roc": (schema.ROC, curves()),
        "suites": (schema.SUITES, suites()),
        "status": (schema.STATUS, status()),
        "ranks": (schema.RANKS, places()),
        "comparisons": (schema.COMPARISONS, comparisons()),
        "gallery": (schema.GALLERY, gallery(samples)),
        "neighbours": (schema.NEIGHBORS, neighbors(samples)),
        "exposed": (schema.EXPOSED, exposed()),
        "class_means": (schema.CLASS_MEANS, class_means()),
        "pictures": (schema.PICTURES, pictures()),
    }
    for name, (columns, rows) in tables.items():
        pq.write_table(pa.Table.from_pylist(rows, schema=columns), site / f"{name}.parquet")
    return site


if __name__ == "__main__":
    from leaderboard.build import build

    print(build(write(Path(sys.argv[1]), samples=8)))
