"""A small finished results folder, made in a moment, with a file of every kind that runs leave."""

import functools
import io
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from benchmark import schema
from benchmark.aggregation.page_tables import summarise
from benchmark.results.compaction import compact
from benchmark.results.scan_cache import SIZE
from benchmark.running.heartbeat import driver
from benchmark.stages.shared.samples import SCHEMA
from benchmark.trials.trial import Row
from tests.helpers.board import Board, scored, share

MODELS = ("plain", "hardened")
SAMPLES = pa.Table.from_pylist(
    [
        {"class_id": c, "sample": s, "space": space, "metric": metric, "value": 0.25 + c / 2}
        for space, metric in (("", "evaluator_accuracy"), ("evaluator", "in_rate"), ("pixel", "class_mean_correlation"))
        for c in range(2)
        for s in range(2)
    ],
    schema=SCHEMA,
)
_SCORES = scored([0.1 * i for i in range(10)], [i % 2 == 0 for i in range(10)])
_INFERRED = [
    Row(metric="membership_auc", value=0.6, low=0.5, high=0.7, n=10),
    Row(metric="tpr_at_1pct_fpr", value=0.4, n=5),
    Row(metric="tpr_at_0_1pct_fpr", value=None, n=5, note="5 non-members cannot resolve it"),
]


@functools.cache
def sound() -> Path:
    """A small finished suite, with pictures, a failure, an index and kept aggregates."""
    root = Path(tempfile.mkdtemp(prefix="sound-results-"))
    board = Board(root, MODELS, {"currency": "EUR", "gpu_hour": {"default": 2.0}})
    for model in MODELS:
        board.predicted(model, [80, 82], [90, 91])
        board.evaded(model, "pgd-l2-1", [40, 42], [0.1, 0.5])
        board.evaded(model, "fgsm-l2-1", [50, 52], [0.2])
        for replica in range(2):
            board.add("leakage", model, replica, [share("in_rate", 1, 2)], "gradient", **_leaked())
            board.add("infer_membership", model, replica, _INFERRED, "loss_threshold", scores=_SCORES)
    missing = board.add("predict", "plain", 7, None)
    store = board.finish()
    store.write_failure(missing, "Traceback ...\nValueError: the loss is NaN", 2)
    compact(store)
    summarise(store, root.parent / f"{root.name}-site", images=False)
    now = {"record": "running", "pid": os.getpid(), "time": time.time() + 1e6, "trials": ["predict plain 7"]}
    store.storage.write(f"running/{driver()}.json", json.dumps(now).encode())
    store.storage.write(f"leases/{missing.key}.json", json.dumps({"record": "leases", "driver": driver()}).encode())
    store.storage.write("index/0000000000000000.seen", bytes(3 * SIZE))
    return root


def _leaked() -> dict[str, pa.Table]:
    """The tables of one inversion attack: samples, and what the page shows of them."""
    written = io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(written, "PNG")
    values: dict[str, Any] = {"image_png": written.getvalue(), "class_name": "cat", "space": "target", "side": "in"}
    tables = {"samples": SAMPLES}
    for name in schema.SHOWN:
        columns = schema.unlabelled(name)
        lines = [{field.name: values.get(field.name, _plain(field)) for field in columns} for _ in range(2)]
        tables[name] = pa.Table.from_pylist(lines, schema=columns)
    return tables


def _plain(field: Any) -> Any:
    if pa.types.is_boolean(field.type):
        return True
    return 0 if pa.types.is_integer(field.type) else 0.5 if pa.types.is_floating(field.type) else "x"


@functools.cache
def files(kind: str = "") -> tuple[str, ...]:
    """Relative names, in an order that is the same in every run."""
    found = (path for path in sound().rglob("*") if path.is_file())
    names = sorted(str(path.relative_to(sound())) for path in found)
    return tuple(name for name in names if name.startswith(kind) and not name.startswith("running"))
