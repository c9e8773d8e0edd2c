"""How each leaderboard column is shown: its construct, its direction, its null value, its number format."""

import math
from dataclasses import dataclass
from typing import Any

from benchmark.schema import LEADERBOARD, STARRED
from leaderboard.parquet_rows import number

TRAINED = ("pools", "train", "declare_members", "import")
PREDICTED = (*TRAINED, "predict")
EVADED = (*PREDICTED, "evade")
INVERTED = (*TRAINED, "embed", "invert", "neighbours", "leakage")
INFERRED = (*PREDICTED, "infer_membership")


@dataclass(frozen=True)
class Column:
    """One measure of the ranking table.

    better: "up", "down", or "" where neither end is better. null: its value if nothing leaks.
    unit: "%" (a share shown times 100), "" (as it is), "s" (a duration), "hours", "money" (in the row's
    currency) or "text".
    stages: the steps it comes from, so that an empty cell can say which of them failed.
    metric, space: where results.parquet keeps it.
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


_ROBUST, _INVERT, _SPECIFIC, _MEMBER = "Robustness", "Invertibility", "Train-specificity", "Membership"
_TRAINING, _RUN = "Training", "Run"

COLUMNS: tuple[Column, ...] = (
    Column("clean_accuracy", "clean accuracy", _ROBUST, "%", "up", shown=True, stages=PREDICTED),
    Column("robust_accuracy", "robust accuracy", _ROBUST, "%", "up", shown=True, stages=EVADED),
    Column("eval_norm", "attack norm", _ROBUST, "text", stages=EVADED),
    Column("eval_epsilon", "attack ε", _ROBUST, "epsilon", stages=EVADED),
    Column("evaluator_accuracy", "evaluator accuracy", _INVERT, "%", "down", shown=True, stages=INVERTED, space=""),
    Column("target_confidence", "target confidence", _INVERT, "%", stages=INVERTED),
    Column("diversity", "diversity", _INVERT, stages=INVERTED, space="evaluator"),
    Column("knn_distance", "kNN distance", _INVERT, better="up", stages=INVERTED, space="evaluator"),
    Column("class_mean_correlation", "class-mean correlation", _INVERT, stages=INVERTED, space="pixel"),
    Column("in_rate", "IN rate", _SPECIFIC, "", "down", 0.5, True, INVERTED, "in_rate", "evaluator"),
    Column("in_rate_target", "IN rate, target", _SPECIFIC, "", "down", 0.5, True, INVERTED, "in_rate", "target"),
    Column("in_rate_pixel", "IN rate, pixels", _SPECIFIC, "", "down", 0.5, False, INVERTED, "in_rate", "pixel"),
    Column("cosine_nn_in", "cosine to member", _SPECIFIC, stages=INVERTED, space="target"),
    Column("cosine_nn_out", "cosine to non-member", _SPECIFIC, stages=INVERTED, space="target"),
    Column("neighbour_purity_at_k", "neighbour purity", _SPECIFIC, "%", stages=INVERTED, space="target"),
    Column("exposure_gini", "exposure Gini", _SPECIFIC, stages=INVERTED, space="evaluator"),
    Column("membership_auc", "membership AUC", _MEMBER, "", "down", 0.5, True, INFERRED),
    Column("tpr_at_1pct_fpr", "TPR at 1% FPR", _MEMBER, "%", "down", 0.01, True, INFERRED),
    Column("tpr_at_0_1pct_fpr", "TPR at 0.1% FPR", _MEMBER, "%", "down", 0.001, False, INFERRED),
    Column("generalization_gap", "general. gap", _MEMBER, "%", "down", 0.0, True, PREDICTED),
    Column("robust_generalization_gap", "robust general. gap", _MEMBER, "%", "down", 0.0, False, EVADED),
    Column("architecture", "architecture", _TRAINING, "text"),
    Column("regime", "regime", _TRAINING, "text"),
    Column("train_norm", "train norm", _TRAINING, "text"),
    Column("train_epsilon", "train ε", _TRAINING, "epsilon"),
    Column("num_members", "members", _TRAINING, "count"),
    Column("num_replicas", "replicas", _TRAINING, "count", stages=TRAINED),
    Column("primary_inversion", "inversion", _RUN, "text"),
    Column("wall_s", "compute", _RUN, "s"),
    Column("gpu_s", "GPU time", _RUN, "s"),
    Column("gpu_hours", "GPU-hours", _RUN, "hours"),
    Column("cost", "cost", _RUN, "money"),
    Column("created_utc", "newest trial", _RUN, "text"),
)
BY_NAME = {column.name: column for column in COLUMNS}
CONSTRUCTS = tuple(dict.fromkeys(column.construct for column in COLUMNS))
X_AXES = ("robust_accuracy", "clean_accuracy", "generalization_gap", "robust_generalization_gap")
Y_AXES = tuple(c.name for c in COLUMNS if c.construct in (_INVERT, _SPECIFIC, _MEMBER))
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
