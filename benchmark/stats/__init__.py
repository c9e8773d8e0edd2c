"""Intervals, tests, ROC measures and ranks. Pure functions of numbers; randomness only from a given seed.

Other packages import from here; only `audit` by itself, which loads all of scipy's distributions.
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
from benchmark.stats.differences import (
    Difference,
    independent_difference,
    independent_differences,
    paired_difference,
    share_difference,
)
from benchmark.stats.intervals import Interval, clopper_pearson, newcombe_difference
from benchmark.stats.medians import mean_of_medians, median_interval
from benchmark.stats.membership_scores import (
    Scored,
    auc_cells,
    replicated_auc,
    replicated_tpr,
    tpr_at_0_1pct,
    tpr_at_1pct,
)
from benchmark.stats.order import places, told_apart, unbeaten
from benchmark.stats.rank_correlation import rank_correlation
from benchmark.stats.roc import auc, balanced_accuracy, best_threshold, placements, tpr_at_fpr
from benchmark.stats.seeds import seed_of
from benchmark.stats.significance import ALPHA, holm

__all__ = [
    "ALPHA",
    "Crossed",
    "Difference",
    "Interval",
    "Scored",
    "auc",
    "auc_cells",
    "balanced_accuracy",
    "best_threshold",
    "clopper_pearson",
    "counted_difference",
    "counted_rate",
    "crossed_mean",
    "hierarchical_bootstrap",
    "holm",
    "independent_difference",
    "independent_differences",
    "mean_interval",
    "mean_of_medians",
    "median_interval",
    "newcombe_difference",
    "paired_difference",
    "paired_images",
    "placements",
    "places",
    "rank_correlation",
    "rate_interval",
    "replicated_auc",
    "replicated_tpr",
    "seed_of",
    "share_difference",
    "share_interval",
    "told_apart",
    "tpr_at_0_1pct",
    "tpr_at_1pct",
    "tpr_at_fpr",
    "unbeaten",
]
