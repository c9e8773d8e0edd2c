"""Intervals, tests, ROC measures and ranks. Pure functions of numbers; randomness only from a given seed."""

from benchmark.stats.bootstrap import (
    hierarchical_bootstrap,
    paired_difference,
    paired_rate_difference,
    rate_interval,
    replicated_difference,
    replicated_rate,
)
from benchmark.stats.intervals import Interval, clopper_pearson, newcombe_difference
from benchmark.stats.order import pareto_front, tied_ranks
from benchmark.stats.rank_correlation import rank_correlation
from benchmark.stats.roc import (
    auc,
    balanced_accuracy,
    best_threshold,
    delong_variance,
    replicated_auc,
    tpr_at_fpr,
)
from benchmark.stats.significance import holm, swap_test

__all__ = [
    "Interval",
    "auc",
    "balanced_accuracy",
    "best_threshold",
    "clopper_pearson",
    "delong_variance",
    "hierarchical_bootstrap",
    "holm",
    "newcombe_difference",
    "paired_difference",
    "paired_rate_difference",
    "pareto_front",
    "rank_correlation",
    "rate_interval",
    "replicated_auc",
    "replicated_difference",
    "replicated_rate",
    "swap_test",
    "tied_ranks",
    "tpr_at_fpr",
]
