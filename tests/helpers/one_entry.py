"""Adds entries to `METRICS`, as a contributor would in that file, then builds a board and its page. In a process of
its own, since the columns are made from the entries when the modules are loaded: `one_entry.py FOLDER`.

The first entry and its function are those of CONTRIBUTING.md.
"""

import dataclasses
import re
import sys
from pathlib import Path

import my_metrics

from benchmark import metrics
from benchmark.metrics import MEMBERSHIP, TRAIN_SPECIFICITY, Join, Metric

_, _, page = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text().partition("## Add a metric")
function, entry = re.findall(r"```python\n(.*?)```", page, re.S)
exec(compile(function, my_metrics.__file__, "exec"), vars(my_metrics))
example = dataclasses.replace(eval(entry, vars(metrics)), function="my_metrics:share_above")
metrics.METRICS = tuple(metric for metric in metrics.METRICS if metric.name != "memorization_gap")
metrics.METRICS += (
    example,
    Metric("memorization_gap", "gap to members", TRAIN_SPECIFICITY, "nearer to members", "leakage",
           Join.SAMPLES, better="down", null=0.0, interval=True, space="pixel"),
    Metric("highest", "highest is member", MEMBERSHIP, "how often the highest score is a member's", "infer_membership",
           Join.SCORES, "%", "down", interval=True, function="my_metrics:highest"),
    Metric("mean_rank", "mean rank", MEMBERSHIP, "mean rank of members", "infer_membership", Join.MEAN, better="up"),
)  # fmt: skip
metrics.LEADERBOARD_METRICS = tuple(metric for metric in metrics.METRICS if metric.column)

from board import Board, scored, share  # noqa: E402

from benchmark.aggregation.page_tables import summarise  # noqa: E402
from benchmark.trials.trial import Row  # noqa: E402
from leaderboard.build import build  # noqa: E402

folder = Path(sys.argv[1])
board = Board(folder / "results", ["m", "empty"])
gaps = [{("pixel", "memorization_gap"): grid} for grid in ([[0.0, 0.2], [0.4, 0.2]], [[0.0, 0.0], [0.0, 0.0]])]
board.leaked("m", "gradient", gaps)
for replica, scores in enumerate(([3.0, 2.0, 1.0, 0.0], [0.0, 1.0, 2.0, 3.0])):
    table = scored(scores, [True, True, False, False])
    rows = [share("membership_auc", 1, 2), Row(metric="mean_rank", value=1.5 + 2 * replica, n=4)]
    board.add("infer_membership", "m", replica, rows, "loss_threshold", scores=table)
summarise(board.finish(), folder / "site")
build(folder / "site")
