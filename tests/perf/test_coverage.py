"""A few of the simulations behind the table of coverage: no interval may miss grossly."""

import re

import pytest

from benchmark import stats
from perf import coverage


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [2, 4, 8])
def test_intervals_cover_about_as_often_as_they_say(replicas: int) -> None:
    found = {
        "share": coverage.measured(lambda rng: stats.share_interval(coverage.shares(rng, replicas, 12)), 0.5, 200),
        "auc": coverage.measured(
            lambda rng: stats.replicated_auc(coverage.scored(rng, replicas, 0.0)), coverage.auc_truth(0.0), 200
        ),
        "tpr": coverage.measured(
            lambda rng: stats.replicated_tpr(coverage.scored(rng, replicas, 0.0), 0.05),
            coverage.tpr_truth(0.05),
            200,
        ),
        "gap": coverage.measured(lambda rng: coverage.paired_gap(rng, replicas, 0.0), 0.1, 200),
        "accuracy": coverage.measured(lambda rng: coverage.accuracy(rng, replicas, 0.0), 0.5, 200),
    }
    assert all(cover >= 0.9 for cover, _ in found.values()), found


def test_the_docs_have_the_table() -> None:
    page = coverage.PAGE.read_text(encoding="utf-8")
    assert coverage.written(page, "made").count("made\n") == 1
    assert len(re.findall(r"\| membership AUC, trainings differ by", page)) == 2
