"""How each leaderboard column is shown: its construct, its direction, its null value, its number format.

What is measured is declared in `benchmark/metrics.py`; what stands beside it on the page, here.
"""

import math
from dataclasses import dataclass
from typing import Any

from benchmark.schema import CONSTRUCTS as MEASURED
from benchmark.schema import LEADERBOARD, LEADERBOARD_METRICS, STARRED, Metric
from leaderboard.parquet_rows import number

_TRAINED = ("pools", "narrow_pools", "train", "declare_members", "import")
_BEFORE = {
    "evade": (*_TRAINED, "predict"),
    "leakage": (*_TRAINED, "embed", "invert", "neighbours"),
    "infer_membership": (*_TRAINED, "embed", "query"),
    "memorization": (*_TRAINED, "query"),
}
"""Step -> those whose failure leaves it without a result; of the others, training alone."""


def steps(stage: str) -> tuple[str, ...]:
    """The steps that a number of this one comes from, in order."""
    return (*_BEFORE.get(stage, _TRAINED), stage)


@dataclass(frozen=True)
class Column:
    """One measure of the ranking table.

    better: "up", "down", or "" where neither end is better. null: its value if nothing leaks.
    unit: "%" (a share shown times 100), "" (as it is), "s" (a duration), "hours", "money" (in the row's
    currency) or "text".
    stages: the steps it comes from, so that an empty cell can say which of them failed.
    metric, space: where results.parquet keeps it. method: label of its attack, "" for the suite's primary one.
    context: it stands after its construct's other columns. ranked: places are given.
    """

    name: str
    label: str
    construct: str
    unit: str = ""
    better: str = ""
    null: float | None = None
    shown: bool = False
    stages: tuple[str, ...] = ()
    metric: str = ""
    space: str | None = None
    method: str = ""
    context: bool = False
    ranked: bool = False

    @property
    def description(self) -> str:
        return describe(self.name)

    @property
    def starred(self) -> bool:
        return self.name in STARRED

    @property
    def numeric(self) -> bool:
        return self.unit != "text"


def describe(name: str) -> str:
    """The schema's sentence about a leaderboard column, "" for any other name."""
    index = LEADERBOARD.get_field_index(name)
    metadata = LEADERBOARD.field(index).metadata if index >= 0 else None
    return metadata[b"description"].decode() if metadata else ""


_SHARED = ("unit", "better", "null", "shown", "metric", "space", "method", "context", "ranked")


def _of(metric: Metric) -> Column:
    shared = {name: getattr(metric, name) for name in _SHARED}
    return Column(metric.name, metric.title, metric.construct, stages=steps(metric.stage), **shared)


_ROBUST, _TRAINING, _RUN = MEASURED[0], "Training", "Run"
CONSTRUCTS = (*MEASURED, _TRAINING, _RUN)
_OTHERS = (
    Column("eval_norm", "attack norm", _ROBUST, "text", stages=steps("evade"), context=True),
    Column("eval_epsilon", "attack ε", _ROBUST, "epsilon", stages=steps("evade"), context=True),
    Column("architecture", "architecture", _TRAINING, "text"),
    Column("regime", "regime", _TRAINING, "text"),
    Column("train_norm", "train norm", _TRAINING, "text"),
    Column("train_epsilon", "train ε", _TRAINING, "epsilon"),
    Column("num_members", "members", _TRAINING, "count"),
    Column("num_replicas", "replicas", _TRAINING, "count", stages=_TRAINED),
    Column("primary_inversion", "inversion", _RUN, "text"),
    Column("wall_s", "compute", _RUN, "s"),
    Column("gpu_s", "GPU time", _RUN, "s"),
    Column("gpu_hours", "GPU-hours", _RUN, "hours"),
    Column("cost", "cost", _RUN, "money"),
    Column("created_utc", "newest trial", _RUN, "text"),
)
COLUMNS: tuple[Column, ...] = tuple(
    sorted(
        (*map(_of, LEADERBOARD_METRICS), *_OTHERS),
        key=lambda column: (CONSTRUCTS.index(column.construct), column.context),
    )
)
"""By construct; within one, the order in which they are declared, context last."""
BY_NAME = {column.name: column for column in COLUMNS}
X_AXES = (
    "robust_accuracy",
    "best_known_robust_accuracy",
    "clean_accuracy",
    "generalization_gap",
    "robust_generalization_gap",
)
Y_AXES = tuple(column.name for column in COLUMNS if column.construct in MEASURED[1:])
NO_ADVERSARY = ("train_norm", "train_epsilon")
"""Empty here means trained against no adversary, not unmeasured."""


def show(column: Column, value: Any) -> str:
    """`value` as the page prints it, "" for a missing one."""
    if column.unit == "text":
        return "" if value is None else str(value)
    amount = number(value)
    if amount is None:
        return ""
    match column.unit:
        case "%":
            return f"{100 * amount:.1f}"
        case "epsilon":
            return epsilon(amount)
        case "count":
            return f"{amount:,.0f}"
        case "s":
            return duration(amount)
        case "hours" | "money":
            return f"{amount:,.2f}"
        case _:
            return f"{amount:.3f}"


def epsilon(value: float) -> str:
    """8/255 for radii that are whole 255ths, else a decimal."""
    steps = value * 255
    if value > 0 and math.isclose(steps, round(steps), abs_tol=1e-6):
        return f"{round(steps)}/255"
    return f"{value:.4g}"


def duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"


def plain(value: Any) -> str:
    """A number of results.parquet, of which the page knows no unit."""
    amount = number(value)
    if amount is None:
        return ""
    return f"{amount:.3f}" if 0.0005 <= abs(amount) < 1000 or amount == 0 else f"{amount:.3g}"
