"""The typed columns of every Parquet file, with their units. The leaderboard reads nothing else."""

import pyarrow as pa

from benchmark.metrics import CONSTRUCTS as CONSTRUCTS
from benchmark.metrics import LEADERBOARD_METRICS as LEADERBOARD_METRICS
from benchmark.metrics import Metric as Metric

SCHEMA_VERSION = 2
"""Version 1 had no `gpus`, `gpu_utilisation` and memory: its files are read with those columns empty."""

EVALUATORS = ("evaluator", "evaluator_robust")
JUDGES = (*EVALUATORS, "pixel")
"""Feature spaces that do not depend on the attacked model."""
SPACES = ("target", *JUDGES)
"""All feature spaces, in which reconstructions are held against members and non-members."""

STARRED = frozenset(metric.name for metric in LEADERBOARD_METRICS if metric.interval)
"""Leaderboard columns that carry `_low` and `_high`: a 95% interval."""


def _column(name: str, kind: pa.DataType, text: str) -> list[pa.Field]:
    fields = [pa.field(name, kind, metadata={"description": text})]
    if name in STARRED:
        for end in ("low", "high"):
            fields.append(pa.field(f"{name}_{end}", kind, metadata={"description": f"{end} end of the 95% interval"}))
    return fields


def _schema(columns: list[tuple[str, pa.DataType, str]]) -> pa.Schema:
    return pa.schema(
        [field for column in columns for field in _column(*column)],
        metadata={"schema_version": str(SCHEMA_VERSION)},
    )


_S, _F, _I, _B = pa.string(), pa.float64(), pa.int64(), pa.bool_()
_FILES = pa.list_(pa.struct([("path", _S), ("sha256", _S), ("text", _S)]))

MEASURE: list[tuple[str, pa.DataType, str]] = [
    ("stage", _S, "step of the benchmark: train, import, predict, evade, leakage, infer_membership, control, ..."),
    ("method", _S, "method and settings in short, empty where the stage has none"),
    (
        "space",
        _S,
        "feature space: target, evaluator, evaluator_robust, pixel; of curves norm and radius, of corrupted images "
        "corruption and severity; empty where it has none",
    ),
    ("metric", _S, "what is measured, as named in METRICS"),
    ("value", _F, "shares in [0, 1]; empty: not measured, see note"),
    ("low", _F, "low end of the 95% interval"),
    ("high", _F, "high end of the 95% interval"),
    ("n", _I, "number of units behind the value"),
    ("note", _S, "why the value is empty or to be doubted"),
]

PROVENANCE: list[tuple[str, pa.DataType, str]] = [
    ("trial_key", _S, "sha256 identity of the trial"),
    ("git_commit", _S, "commit of the code, with -dirty where it was changed"),
    ("versions", _S, "python, torch, faiss, ... as 'name version' joined by ', '"),
    ("device", _S, "name of the processor or GPU"),
    ("host", _S, "hash of the host's name"),
    ("threads", _I, "CPU threads the trial used"),
    ("wall_s", _F, "seconds of the trial's own work"),
    ("gpu_s", _F, "seconds it held a GPU, or a share of one; 0 on a CPU"),
    ("gpus", _F, "GPUs it held: 0.25 is a quarter of one, 0 is none"),
    ("gpu_utilisation", _F, "mean share of its time in which its GPU computed, for this trial or others"),
    ("gpu_memory_bytes", _I, "most memory of its GPU that was in use, by this trial or others"),
    ("host_memory_bytes", _I, "most memory of the machine that its process held"),
    ("created_utc", _S, "ISO 8601 time of the end of the trial"),
]

ROWS = _schema([*MEASURE, *PROVENANCE, ("schema_version", _I, "version of these columns")])
"""rows.parquet of one trial."""


def completed(table: pa.Table, columns: pa.Schema) -> pa.Table:
    """The table with exactly these columns; those that an older version did not write are empty.

    Raises ValueError where its other columns cannot be read as these.
    """
    for field in columns:
        if field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    return table.select(columns.names).cast(columns)


RESULTS = _schema(
    [
        ("suite", _S, "name of the suite"),
        ("model", _S, "name of the model in the suite"),
        ("replica", _I, "replica; empty for a value over all replicas"),
        *MEASURE,
        ("trial_key", _S, "sha256 identity of the trial; empty for a value over several trials"),
    ]
)
"""site/results.parquet: every measured number of every suite."""

_BESIDE: dict[str, list[tuple[str, pa.DataType, str]]] = {
    "robust_accuracy": [
        ("eval_norm", _S, "norm of the primary evasion attack"),
        ("eval_epsilon", _F, "radius of the primary evasion attack, pixel units"),
        ("masking_suspected", _B, "a sign of gradient masking was seen; the reason is in results.parquet"),
    ],
    "robust_generalization_gap": [("primary_inversion", _S, "inversion attack of the suite's headline")],
}
"""Metric -> columns that follow it and are none."""


def _measured() -> list[tuple[str, pa.DataType, str]]:
    """The columns of every metric, in the order of `METRICS`, with what stands beside them."""
    columns = []
    for metric in LEADERBOARD_METRICS:
        columns += [(metric.name, _F, metric.meaning), *_BESIDE.get(metric.name, ())]
    return columns


LEADERBOARD = _schema(
    [
        ("suite", _S, "name of the suite"),
        ("model", _S, "name of the model in the suite"),
        ("architecture", _S, "registered architecture"),
        ("regime", _S, "registered training regime, or checkpoint: trained elsewhere"),
        ("train_norm", _S, "norm of the adversary it was trained against, empty for none"),
        ("train_epsilon", _F, "radius of that adversary, pixel units"),
        ("num_replicas", _I, "trained models behind the row"),
        ("num_members", _I, "training images of one replica; of a checkpoint, as declared"),
        *_measured(),
        ("controls_passed", _B, "the suite's positive, negative and injected controls came out as they must"),
        ("pareto", _B, "no other model is significantly better in one of the front's measures and worse in none"),
        ("pareto_note", _S, "which measures the front is of, and what is to be said of the model on it"),
        ("wall_s", _F, "seconds of compute of all its trials"),
        ("gpu_s", _F, "seconds in which its trials held a GPU, or a share of one"),
        (
            "gpu_hours",
            _F,
            "GPU-hours of its own trials, a share of a GPU by the share",
        ),
        ("cost", _F, "money for its own trials at the suite's prices; empty without prices"),
        ("currency", _S, "what the cost is counted in"),
        ("checkpoint", _S, "content of a model that was trained elsewhere, and what was declared of it"),
        ("git_commit", _S, "commit of the code"),
        ("suite_hash", _S, "sha256 of the checked suite"),
        ("created_utc", _S, "ISO 8601 time of its newest trial"),
    ]
)
"""site/leaderboard.parquet: one row a (suite, model). Empty means not measured."""

_LABELS: list[tuple[str, pa.DataType, str]] = [
    ("suite", _S, "name of the suite"),
    ("model", _S, "name of the model"),
    ("replica", _I, "replica that was attacked"),
    ("method", _S, "inversion attack"),
]
_CLASS: list[tuple[str, pa.DataType, str]] = [("class_id", _I, "target class"), ("class_name", _S, "its name")]

GALLERY = _schema(
    [
        *_LABELS,
        *_CLASS,
        ("sample", _I, "number of the reconstruction within its class"),
        ("target_confidence", _F, "probability the attacked model gives the target class"),
        ("evaluator_correct", _B, "both evaluators give it the target class"),
        ("class_mean_correlation", _F, "Pearson correlation with the mean member of the class, pixels"),
        ("image_png", pa.binary(), "the reconstruction"),
    ]
)
"""site/gallery.parquet: one row a reconstruction."""

NEIGHBORS = _schema(
    [
        *_LABELS,
        ("space", _S, "feature space of the neighbours"),
        ("class_id", _I, "target class of the reconstruction"),
        ("sample", _I, "number of the reconstruction within its class"),
        ("side", _S, "in: a member, out: a non-member"),
        ("rank", _I, "1: the nearest of its side"),
        ("image_id", _I, "which image: the picture is in pictures.parquet"),
        ("cosine", _F, "its cosine to the reconstruction"),
    ]
)
"""site/neighbours.parquet: the nearest images of every reconstruction."""

EXPOSED = _schema(
    [
        *_LABELS,
        ("space", _S, "feature space of the neighbours"),
        ("side", _S, "in: members, out: non-members, for comparison"),
        ("rank", _I, "1: the image that is the nearest of its side most often"),
        ("image_id", _I, "which image: the picture is in pictures.parquet"),
        ("count", _I, "reconstructions whose nearest image of this side it is"),
        ("num_reconstructions", _I, "reconstructions of the attack on this replica"),
        ("gallery_size", _I, "images of this side"),
    ]
)
"""site/exposed.parquet: the images that are most often a reconstruction's nearest."""

CLASS_MEANS = _schema([*_LABELS, *_CLASS, ("image_png", pa.binary(), "the mean member of the class")])
"""site/class_means.parquet: one row a class of an attacked replica."""

PICTURES = _schema(
    [
        ("suite", _S, "name of the suite"),
        ("image_id", _I, "place among the data set's training images, which its test images follow"),
        ("class_id", _I, "its class"),
        ("class_name", _S, "the name of that"),
        ("image_png", pa.binary(), "the image"),
    ]
)
"""site/pictures.parquet: every image that neighbours or exposed name, and the most memorised ones, once a suite."""

SHOWN = {
    "gallery": GALLERY,
    "neighbours": NEIGHBORS,
    "exposed": EXPOSED,
    "class_means": CLASS_MEANS,
    "pictures": PICTURES,
}
"""The tables of pictures, by name."""


def unlabelled(name: str) -> pa.Schema:
    """A table of `SHOWN` as one trial writes it: it does not know its labels."""
    labels = {label for label, _, _ in _LABELS}
    return pa.schema([field for field in SHOWN[name] if field.name not in labels])


IMAGES = _schema(
    [
        ("suite", _S, "name of the suite"),
        ("model", _S, "name of the model"),
        ("inversion", _S, "inversion attack of the exposures and cosines; empty where the model was not inverted"),
        ("image_id", _I, "place among the data set's training images"),
        ("class_id", _I, "its class"),
        ("memorization", _F, "P(classified right | trained on it) - P(right | not), over all replicas and shadows"),
        ("memorization_error", _F, "standard error of that"),
        ("margin_gap", _F, "mean margin when trained on it minus when not"),
        ("num_in", _I, "models that were trained on it"),
        ("num_out", _I, "models that saw neither it nor a near-duplicate"),
        ("membership_attack", _S, "the attack of the membership score: the strongest one on shadow models"),
        (
            "membership_score",
            _F,
            "share of a replica's non-members that score lower, mean over the replicas trained on it; null 0.5",
        ),
        (
            "robust_margin",
            _F,
            "least margin of its adversarial versions, mean over the attacked replicas trained on it",
        ),
        *(
            column
            for space in JUDGES
            for column in (
                (f"exposure_{space}", _I, f"reconstructions whose nearest member it is, {space} features"),
                (f"exposure_out_{space}", _I, "the same while it is a non-member, among non-members: the control"),
                (f"cosine_{space}", _F, "cosine to the nearest reconstruction of those with it among their k nearest"),
            )
        ),
    ]
)
"""site/images.parquet: one row a private image of a (suite, model, inversion). Empty: it is on no such side."""

ROC = _schema(
    [
        ("suite", _S, "name of the suite"),
        ("model", _S, "name of the model"),
        ("method", _S, "membership attack"),
        ("fpr", _F, "share of the non-members that are called members"),
        ("tpr", _F, "share of the members that are found, mean over replicas"),
    ]
)
"""site/roc.parquet: the ROC curve of every membership attack, at false-positive rates even on a log scale."""


SUITES = _schema(
    [
        ("suite", _S, "name of the suite"),
        ("suite_hash", _S, "sha256 of the checked suite"),
        ("suite_path", _S, "path as given to `bench run`"),
        ("yaml", _S, "text of the suite file"),
        ("included", _FILES, "files with methods of the user's own: path as given, sha256, text unless it is too long"),
        ("older", pa.list_(_S), "methods with results of an older version, in words"),
        ("data", _S, "data set, its size, licence and source in a line"),
        ("num_replicas", _I, "trained models a row"),
        ("primary_evasion", _S, "attack behind robust_accuracy"),
        ("primary_inversion", _S, "attack behind evaluator_accuracy and in_rate"),
        (
            "primary_membership",
            _S,
            "what is behind membership_auc: strongest, of each pair the attack that does best on shadow models",
        ),
        ("hardware", _S, "processors and GPUs the trials ran on"),
        ("versions", _S, "software the trials ran with"),
        ("git_commit", _S, "commit of the code"),
        ("num_trials", _I, "trials of the suite"),
        ("num_done", _I, "trials with results"),
        ("num_failed", _I, "trials that failed"),
        ("gpu_hours", _F, "GPU-hours of all trials with results, those that models share too"),
        ("cost", _F, "money for them at the suite's prices; empty without prices"),
        ("currency", _S, "what the cost is counted in"),
        ("created_utc", _S, "ISO 8601 time of its newest trial"),
    ]
)
"""site/suites.parquet: one row a suite."""

RANKS = _schema(
    [
        ("suite", _S, "name of the suite"),
        ("model", _S, "name of the model"),
        ("metric", _S, "column of the leaderboard"),
        ("best", _I, "1 + the number of models that are significantly better"),
        ("worst", _I, "the number of models, less those that are significantly worse"),
        ("num_tied", _I, "models that are neither"),
        ("tied", pa.list_(_S), "the first of these"),
    ]
)
"""site/ranks.parquet: the places of every model in every column that ranks, by paired differences."""

COMPARISONS = _schema(
    [
        ("suite", _S, "name of the suite"),
        ("metric", _S, "column of the leaderboard"),
        ("model", _S, "name of a model"),
        ("other", _S, "name of another"),
        ("difference", _F, "value of the model minus that of the other, in the column's unit"),
        ("low", _F, "lower end of its 95% interval"),
        ("high", _F, "upper end of its 95% interval"),
        ("p_value", _F, "two-sided p-value of no difference"),
        ("p_holm", _F, "the same, corrected for all comparisons of the column"),
        ("paired", _B, "over the same pairs, classes and images; else as if the two were independent"),
    ]
)
"""site/comparisons.parquet: every two models of a suite in every column that ranks; of suites with few models."""

STATUS = _schema(
    [
        ("suite", _S, "name of the suite"),
        ("model", _S, "name of the model, empty for shared trials"),
        ("replica", _I, "replica, empty for shared trials"),
        ("stage", _S, "step of the benchmark"),
        ("method", _S, "method"),
        ("trial_key", _S, "sha256 identity of the trial"),
        ("state", _S, "done, failed or missing"),
        ("error", _S, "last line of the failure"),
    ]
)
"""site/status.parquet: one row a trial of each suite."""
