"""Intervals, tests, ROC measures and ranks. Pure functions of numbers; randomness only from a given seed.

`crossed` and `membership_scores` are over all replicas of a model, with pairs of replicas as the units; `bootstrap` is
over what one replica's reconstructions show.
"""

from benchmark.stats.bootstrap import hierarchical_bootstrap, rate_interval
from benchmark.stats.crossed import (
    Crossed,
    counted_difference,
    counted_rate,
    crossed_mean,
    mean_interval,
    paired_images,
    share_interval,
)
from benchmark.stats.differences import independent_difference, p_value_of, share_difference
from benchmark.stats.intervals import Interval, clopper_pearson, newcombe_difference
from benchmark.stats.membership_scores import (
    Scored,
    auc_cells,
    replicated_auc,
    replicated_tpr,
    tpr_at_0_1pct,
    tpr_at_1pct,
)
from benchmark.stats.order import ALPHA, Places, places, told_apart, unbeaten
from benchmark.stats.roc import auc, balanced_accuracy, best_threshold, delong_variance, tpr_at_fpr
from benchmark.stats.significance import holm

__all__ = [
    "ALPHA",
    "Crossed",
    "Interval",
    "Places",
    "Scored",
    "auc",
    "auc_cells",
    "balanced_accuracy",
    "best_threshold",
    "clopper_pearson",
    "counted_difference",
    "counted_rate",
    "crossed_mean",
    "delong_variance",
    "hierarchical_bootstrap",
    "holm",
    "independent_difference",
    "mean_interval",
    "newcombe_difference",
    "p_value_of",
    "paired_images",
    "places",
    "rate_interval",
    "replicated_auc",
    "replicated_tpr",
    "share_difference",
    "share_interval",
    "told_apart",
    "tpr_at_0_1pct",
    "tpr_at_1pct",
    "tpr_at_fpr",
    "unbeaten",
]
