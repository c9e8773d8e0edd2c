"""Every metric, declared once. Columns, their intervals, aggregation, the page and the docs' table follow from here.

A new metric is one entry of `METRICS`, and a function where nothing computes it yet. Its values come from

- rows of that name, or values of that name in the table of samples, that a stage writes already: the entry is all;
- values that finished trials keep: the function is called when results are summed up, and no trial runs again;
- features of reconstructions and members (no `of`): the stage `leakage` calls it; raise the VERSION of that stage.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

ROBUSTNESS, INVERTIBILITY = "Robustness", "Invertibility"
TRAIN_SPECIFICITY, MEMBERSHIP = "Train-specificity", "Membership"
CONSTRUCTS = (ROBUSTNESS, INVERTIBILITY, TRAIN_SPECIFICITY, MEMBERSHIP)
"""In the order of the page. A metric belongs to one."""
STRONGEST = "strongest"
"""What the page calls the membership attack that is the strongest on shadow models; the columns are about it."""


class Join(Enum):
    """How the replicas of a model give one number: (how, which 95% interval it gets; "" for none)."""

    SHARED_IMAGES = (
        "mean of rates on images that all replicas share",
        "t, from one draw of the images and the spread between pairs; at least Clopper-Pearson",
    )
    DIFFERENCE = (
        "difference of two such rates, replica by replica",
        "t, from one draw of the images and the spread between pairs; at least Newcombe's",
    )
    PAIRED_IMAGES = (
        "mean over private images and pairs, each image under the replica that trained on it and the one that did not",
        "t, over pairs crossed with images",
    )
    EVERY_ATTACK = (
        "image by image over the attacks in the primary one's ball; then as rates on images that all replicas share",
        "t, from one draw of the images and the spread between pairs; at least Clopper-Pearson",
    )
    SAMPLES = ("mean over reconstructions", "t, over pairs crossed with classes")
    SAMPLE_RATE = (
        "mean over reconstructions, each 0, 0.5 or 1",
        "t, over pairs crossed with classes; at least Clopper-Pearson",
    )
    SMALLER_SPACE = (
        "as a rate over reconstructions in each of two spaces, then the smaller",
        "that of the smaller",
    )
    AUDIT = ("the largest bound that any replica gives, at a level shared among all", "")
    SCORES = ("a function of the membership scores of all replicas", "the function's own")
    RECUT = ("the same reconstructions or scores, the private images cut into members and non-members anew", "")
    MEAN = ("mean of one number a replica", "")
    IMAGES = ("over private images, each from all replicas at once", "over images, for these trained models")
    NONE = ("not joined: each replica by itself", "")

    def __init__(self, how: str, interval: str) -> None:
        self.how, self.interval = how, interval


@dataclass(frozen=True)
class Metric:
    """One metric, or one feature space or attack of it.

    name: the column of the leaderboard, unless `column` is False: then it is in results.parquet alone.
    title, short: heading on the page; in the terminal's table, "" where it is not in it. meaning: one line.
    stage: whose trials give it. metric: what they call it, where that is not `name`. space: of the column, "" where
    the metric has none. method: label of the attack of the column; "": the suite's primary one, of membership attacks
    the strongest.
    unit: "%" (a share, shown times 100) or "" (as it is). better: "up", "down", or "" where neither end is better.
    null: its value if nothing leaks. interval: the leaderboard has its `_low` and `_high`.
    shown: on the page without being chosen. context: on the page after its construct's other metrics.
    of: the metrics that it is computed from. function: what computes it, as "module:function":

    - SCORES: gets a `stats.Scored` of each replica: scores (N,), is_member (N,) bool, pair, and image (N,), the
      group of near-duplicates that each is in, equal under all replicas. Returns a `stats.Interval`, or raises
      ValueError with the reason why there is none.
    - SAMPLES and SAMPLE_RATE: gets, for each space, the values of each of `of`, (replicas, classes, samples) with NaN
      for none, and returns its own in that shape. Where `of` is empty it gets, for each replica, class and
      evaluator, the features of the reconstructions (n, K), n > 1, and of the members (m, K), and returns a float.
    """

    name: str
    title: str
    construct: str
    meaning: str
    stage: str
    join: Join
    unit: str = ""
    better: str = ""
    null: float | None = None
    interval: bool = False
    metric: str = ""
    space: str = ""
    method: str = ""
    column: bool = True
    shown: bool = False
    context: bool = False
    short: str = ""
    of: tuple[str, ...] = ()
    function: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "metric", self.metric or self.name)

    @property
    def ranked(self) -> bool:
        """Without an interval nobody knows who is ahead."""
        return bool(self.better) and self.interval

    @property
    def of_features(self) -> bool:
        return bool(self.function) and not self.of and self.join in (Join.SAMPLES, Join.SAMPLE_RATE)

    def load(self) -> Callable[..., Any]:
        """The function that `function` names."""
        module, _, name = self.function.partition(":")
        found: Callable[..., Any] = getattr(importlib.import_module(module), name)
        return found


# In the order of the leaderboard's columns.
METRICS: tuple[Metric, ...] = (
    Metric("clean_accuracy", "clean accuracy", ROBUSTNESS, "share of test images classified right", "predict",
           Join.SHARED_IMAGES, "%", "up", interval=True, shown=True, short="clean"),
    Metric("robust_accuracy", "robust accuracy", ROBUSTNESS,
           "share of test images that stay right under the primary evasion attack", "evade",
           Join.SHARED_IMAGES, "%", "up", interval=True, shown=True, short="robust"),
    Metric("best_known_robust_accuracy", "best known robust accuracy", ROBUSTNESS,
           "share of test images that stay right under every attack of the row in the primary one's ball, images that "
           "were handed in among them", "evade", Join.EVERY_ATTACK, "%", "up", interval=True, shown=True),
    Metric("attack_gap", "attack gap", ROBUSTNESS,
           "robust accuracy minus best known: images that the primary attack leaves standing and another one fools",
           "evade", Join.EVERY_ATTACK, "%", interval=True, context=True),
    Metric("beats_primary", "beats the primary attack", ROBUSTNESS,
           "share of test images that this attack fools and the primary one does not", "evade", Join.EVERY_ATTACK, "%",
           column=False),
    Metric("loses_to_primary", "loses to the primary attack", ROBUSTNESS,
           "share of test images that the primary attack fools and this one does not", "evade", Join.EVERY_ATTACK, "%",
           column=False),
    Metric("only_black_box", "only the black-box part", ROBUSTNESS,
           "share of test images that an ensemble's black-box part fooled after those that use gradients had failed",
           "evade", Join.SHARED_IMAGES, "%", column=False),
    Metric("attack_success_rate", "attack success", ROBUSTNESS, "share of the images classified right that it fools",
           "evade", Join.NONE, "%", "down", column=False),
    Metric("mean_distance", "mean distance", ROBUSTNESS, "mean norm of what the attack added, pixel units", "evade",
           Join.NONE, column=False),
    Metric("randomised_outputs", "randomised outputs", ROBUSTNESS,
           "share of test images whose logits differ between two passes", "probe", Join.SHARED_IMAGES, "%",
           column=False),
    Metric("probability_outputs", "probabilities for logits", ROBUSTNESS,
           "share of test images whose outputs are probabilities in place of logits", "probe", Join.SHARED_IMAGES, "%",
           column=False),
    Metric("zero_gradients", "zero gradients", ROBUSTNESS,
           "share of test images at which the gradient of the margin is 0 in every pixel", "probe", Join.SHARED_IMAGES,
           "%", column=False),
    Metric("member_accuracy", "member accuracy", MEMBERSHIP, "share of members classified right", "predict",
           Join.SHARED_IMAGES, "%", column=False, context=True),
    Metric("non_member_accuracy", "non-member accuracy", MEMBERSHIP, "share of non-members classified right",
           "predict", Join.SHARED_IMAGES, "%", column=False, context=True),
    Metric("robust_accuracy_members", "robust member accuracy", MEMBERSHIP,
           "share of members that stay right under the attack", "evade",
           Join.SHARED_IMAGES, "%", column=False, context=True),
    Metric("generalization_gap", "general. gap", MEMBERSHIP, "accuracy on members minus accuracy on test images",
           "predict", Join.DIFFERENCE, "%", "down", 0.0, interval=True, shown=True, context=True,
           of=("member_accuracy", "clean_accuracy")),
    Metric("paired_generalization_gap", "general. gap, paired", MEMBERSHIP,
           "P(right | trained on it) minus P(right | not) of the same private images", "predict", Join.PAIRED_IMAGES,
           "%", "down", 0.0, interval=True, context=True),
    Metric("robust_generalization_gap", "robust general. gap", MEMBERSHIP,
           "robust accuracy on members minus on test images", "evade",
           Join.DIFFERENCE, "%", "down", 0.0, interval=True, context=True,
           of=("robust_accuracy_members", "robust_accuracy")),
    Metric("evaluator_accuracy", "evaluator accuracy", INVERTIBILITY,
           "share of reconstructions that independent evaluators recognise; smaller of two", "leakage",
           Join.SMALLER_SPACE, "%", "down", interval=True, shown=True, short="recognised"),
    Metric("evaluator_top5_accuracy", "evaluator top-5 accuracy", INVERTIBILITY,
           "share with the target among an evaluator's five likeliest; of more than 10 classes", "leakage",
           Join.SAMPLE_RATE, "%", "down", column=False),
    Metric("target_confidence", "target confidence", INVERTIBILITY,
           "mean probability the attacked model gives the target class", "leakage", Join.SAMPLES, "%"),
    Metric("diversity", "diversity", INVERTIBILITY,
           "mean pairwise cosine distance among the samples of a class, evaluator features", "leakage",
           Join.SAMPLES, space="evaluator"),
    Metric("vendi_score", "Vendi score", INVERTIBILITY,
           "effective number of different samples of a class, evaluator features", "leakage",
           Join.SAMPLES, space="evaluator", column=False),
    Metric("knn_distance", "kNN distance", INVERTIBILITY,
           "distance to the nearest member of the class, evaluator features", "leakage",
           Join.SAMPLES, better="up", interval=True, space="evaluator"),
    Metric("class_mean_correlation", "class-mean correlation", INVERTIBILITY,
           "mean Pearson correlation with the mean member of the class, pixels", "leakage",
           Join.SAMPLES, interval=True, space="pixel"),
    Metric("cosine_nn_in", "cosine to member", TRAIN_SPECIFICITY, "mean largest cosine to members, target features",
           "leakage", Join.SAMPLES, space="target", context=True),
    Metric("cosine_nn_out", "cosine to non-member", TRAIN_SPECIFICITY,
           "mean largest cosine to non-members, target features", "leakage",
           Join.SAMPLES, space="target", context=True),
    Metric("neighbour_purity_at_k", "neighbour purity", TRAIN_SPECIFICITY,
           "share of the k nearest members with the target label, target features", "leakage",
           Join.SAMPLES, "%", space="target", context=True),
    Metric("in_rate", "IN rate", TRAIN_SPECIFICITY,
           "P(nearest member is closer than nearest non-member), where the evidence is strongest of three spaces that "
           "do not depend on the model; null 0.5", "leakage",
           Join.SAMPLE_RATE, "", "", 0.5, interval=True, shown=True, short="in rate"),
    Metric("in_rate_p_value", "p of the IN rate", TRAIN_SPECIFICITY,
           "how rare an IN rate so far from 0.5 is if nothing leaks, its choice of a space paid for by Holm", "leakage",
           Join.RECUT, shown=True),
    Metric("in_rate_power", "IN rate told from 0.5", TRAIN_SPECIFICITY,
           "the smallest IN rate that these samples and replicas would tell from 0.5 with probability 0.8", "leakage",
           Join.RECUT, shown=True),
    Metric("in_rate_evaluator", "IN rate, evaluator", TRAIN_SPECIFICITY, "the same in evaluator features", "leakage",
           Join.SAMPLE_RATE, "", "", 0.5, interval=True, metric="in_rate", space="evaluator"),
    Metric("in_rate_evaluator_robust", "IN rate, robust evaluator", TRAIN_SPECIFICITY,
           "the same in the robust evaluator's features", "leakage",
           Join.SAMPLE_RATE, "", "", 0.5, interval=True, metric="in_rate", space="evaluator_robust"),
    Metric("in_rate_target", "IN rate, target", TRAIN_SPECIFICITY,
           "the same in target features, which the attack optimised: proves nothing alone", "leakage",
           Join.SAMPLE_RATE, "", "", 0.5, interval=True, metric="in_rate", space="target", shown=True,
           short="in rate, target"),
    Metric("in_rate_pixel", "IN rate, pixels", TRAIN_SPECIFICITY, "the same in mean-centred pixels", "leakage",
           Join.SAMPLE_RATE, "", "", 0.5, interval=True, metric="in_rate", space="pixel", shown=True,
           short="in rate, pixels"),
    Metric("in_rate_null", "IN rate of other cuts", TRAIN_SPECIFICITY, "where an IN rate lies in 95% of other cuts",
           "leakage", Join.RECUT, column=False),
    Metric("memorization_gap", "memorization gap", TRAIN_SPECIFICITY,
           "mean cosine to the nearest member minus to the nearest non-member", "leakage",
           Join.SAMPLES, "", "", 0.0, column=False),
    Metric("memorization_gap_p_value", "p of the memorization gap", TRAIN_SPECIFICITY,
           "how rare a gap so far from 0 is if nothing leaks", "leakage", Join.RECUT, column=False),
    Metric("memorization_gap_null", "memorization gap of other cuts", TRAIN_SPECIFICITY,
           "where a gap lies in 95% of other cuts", "leakage", Join.RECUT, column=False),
    Metric("memorization_gap_power", "memorization gap told from 0", TRAIN_SPECIFICITY,
           "the smallest gap that would be told from 0 with probability 0.8", "leakage", Join.RECUT, column=False),
    Metric("exposure_gini", "exposure Gini", TRAIN_SPECIFICITY,
           "how unevenly reconstructions point at members: 0 even, 1 all at one", "leakage",
           Join.MEAN, space="evaluator", context=True),
    Metric("exposure_effective_number", "exposed members", TRAIN_SPECIFICITY,
           "as many members, evenly exposed, would be as uneven", "leakage", Join.MEAN, column=False, context=True),
    Metric("distance_ratio", "distance ratio", TRAIN_SPECIFICITY,
           "distance to the nearest member over that to the nearest non-member", "leakage",
           Join.MEAN, "", "up", 1.0, column=False, context=True),
    Metric("membership_auc", "membership AUC", MEMBERSHIP,
           "area under the ROC curve of the strongest membership attack; null 0.5", "infer_membership",
           Join.SCORES, "", "down", 0.5, interval=True, shown=True, short="membership AUC",
           function="benchmark.stats:replicated_auc"),
    Metric("membership_auc_p_value", "p of the AUC", MEMBERSHIP,
           "how rare an AUC so far from 0.5 is if nothing leaks", "infer_membership", Join.RECUT),
    Metric("membership_auc_null", "AUC of other cuts", MEMBERSHIP, "where an AUC lies in 95% of other cuts",
           "infer_membership", Join.RECUT, column=False),
    Metric("membership_auc_power", "AUC told from 0.5", MEMBERSHIP,
           "the smallest AUC that would be told from 0.5 with probability 0.8", "infer_membership", Join.RECUT,
           column=False),
    Metric("membership_balanced_accuracy", "balanced accuracy", MEMBERSHIP,
           "mean of the rates of members and non-members told right, at a threshold from shadow models",
           "infer_membership", Join.MEAN, "%", "down", 0.5, column=False),
    Metric("membership_precision", "precision at a prior of 10%", MEMBERSHIP,
           "share of members among those called so at that threshold, if 10% of those asked about are members",
           "infer_membership", Join.MEAN, "%", "down", 0.1, column=False),
    Metric("shadow_auc", "AUC on shadow models", MEMBERSHIP,
           "mean AUC with shadow models in the target's place: what the strongest attack is chosen by",
           "infer_membership", Join.MEAN, null=0.5, column=False),
    Metric("tpr_at_1pct_fpr", "TPR at 1% FPR", MEMBERSHIP, "members found at 1% false alarms", "infer_membership",
           Join.SCORES, "%", "down", 0.01, interval=True, shown=True, function="benchmark.stats:tpr_at_1pct"),
    Metric("tpr_at_0_1pct_fpr", "TPR at 0.1% FPR", MEMBERSHIP, "members found at 0.1% false alarms",
           "infer_membership", Join.SCORES, "%", "down", 0.001, interval=True,
           function="benchmark.stats:tpr_at_0_1pct"),
    *(Metric(name, title, MEMBERSHIP, meaning, "memorization", Join.IMAGES, unit, better, 0.0, column=False)
      for name, title, meaning, unit, better in (
        ("memorization_mean", "mean memorisation",
         "P(right | trained on it) - P(right | not), mean over private images", "%", "down"),
        ("memorized_share", "memorised share",
         "share of private images of memorisation 0.25 or more, less the share at -0.25 or less, which is chance",
         "%", "down"),
        ("memorization_membership", "memorisation, membership score",
         "rank correlation of an image's memorisation in the shadow replicas with the share of non-members that the "
         "strongest membership attack puts below it", "", ""),
        ("memorization_exposure", "memorisation, exposure",
         "rank correlation with the number of reconstructions whose nearest member the image is", "", ""),
        ("memorization_exposure_gap", "memorisation, exposure gap",
         "rank correlation with that number less the same while it is a non-member: images near to everything "
         "cancel out", "", ""),
        ("memorization_cosine", "memorisation, cosine",
         "rank correlation with the cosine to the nearest reconstruction, of images among its k nearest", "", ""),
        ("memorization_robust_margin", "memorisation, robust margin",
         "rank correlation with the margin of the image's adversarial version, under models trained on it", "", ""),
        ("membership_exposure", "membership score, exposure",
         "rank correlation of the membership score with the exposure", "", ""),
        ("membership_robust_margin", "membership score, robust margin",
         "rank correlation of the membership score with the robust margin", "", ""),
      )),
    Metric("empirical_epsilon", "empirical epsilon", MEMBERSHIP,
           "the largest epsilon, under substitution, that an audit in one run refutes at 95%; 0: none",
           "infer_membership", Join.AUDIT, null=0.0),
    Metric("proven_epsilon", "proven epsilon", MEMBERSHIP,
           "what the accountant proves of the training, of adding or removing an image", "train", Join.MEAN),
    Metric("proven_epsilon_substitution", "proven epsilon, substitution", MEMBERSHIP,
           "the same of substituting an image, which empirical_epsilon must stay below", "train", Join.MEAN,
           column=False, context=True),
)  # fmt: skip
LEADERBOARD_METRICS = tuple(metric for metric in METRICS if metric.column)
STAGES = tuple(dict.fromkeys(metric.stage for metric in METRICS))


def measured_by(stage: str) -> tuple[Metric, ...]:
    """What a stage's trials are joined to: one entry a metric, whatever its spaces, in the order of `METRICS`."""
    return tuple({metric.metric: metric for metric in METRICS if metric.stage == stage}.values())
