"""The real thing: `suites/fashion.yaml`, all of Fashion-MNIST with VGG16 and ResNet-18, as far as the minutes reach."""

import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmark.aggregation.suite_results import SuiteResults
from benchmark.data.fashion_mnist import FashionMNIST
from benchmark.results.store import Store
from perf.gpu.bench_run import Ran, bench_run

_METRICS = ("clean_accuracy", "robust_accuracy", "evaluator_accuracy", "in_rate", "membership_auc")


def measure(
    device: str, tiny: bool, limit_s: float, data_root: Path | None, results: Path | None
) -> Iterator[dict[str, Any]]:
    """limit_s: of the section, of which it leaves some for the end of the run and the page. results: where trials
    are kept, and those of an earlier call found; None: nowhere. Raises ValueError where the data are missing.
    """
    begin = time.monotonic()
    if not tiny:
        FashionMNIST().locate(data_root)  # the suite would try to download, and wait for a network
    suite = "tests/suites/tiny.yaml" if tiny else "suites/fashion.yaml"
    reserve_s = min(30.0, limit_s / 4)
    more = ["--only", "softmax"] if tiny else []
    more += [] if data_root is None else ["--data-root", str(data_root)]
    with tempfile.TemporaryDirectory() as folder:
        yield {"what": "suite", "of": suite}
        left_s = max(1.0, limit_s - reserve_s - (time.monotonic() - begin))
        ran = bench_run(
            Path(folder), suite, device, *more, results=results, limit_s=left_s, grace_s=0.7 * reserve_s
        )  # fmt: skip
        yield from _trials(ran)
        yield from _board(ran)


def _trials(ran: Ran) -> Iterator[dict[str, Any]]:
    """How far it came, stage by stage; seconds are those of the trials that are done, a GPU's share included."""
    how = "ended by itself" if ran.whole else "stopped as by Ctrl-C" if ran.code is not None else "had to be killed"
    plans = list(Store(ran.results).plans())
    if not plans:
        yield {"what": f"bench run {how} before it had planned", "seconds": ran.seconds}
        return
    found = SuiteResults(Store(ran.results), plans[0])
    counts: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(("done", "failed", "missing"), 0))
    for status in found.status:
        counts[status["stage"]][status["state"]] += 1
        counts[""][status["state"]] += 1
    took: dict[str, float] = defaultdict(float)
    for done in found.done:
        for stage in ("", done.stage):
            took[stage] += done.made["wall_s"] or 0.0
    for stage in ("", *(stage for stage in counts if stage)):
        count = counts[stage]
        row = {"what": stage or f"all trials; the run {how}", "done": count["done"], "failed": count["failed"],
               "of": sum(count.values()), "seconds of trials": took[stage]}  # fmt: skip
        yield row if stage else {**row, "seconds": ran.seconds}
    reasons = dict.fromkeys(f"{s['stage']}: {s['error']}" for s in found.status if s["state"] == "failed")
    yield from ({"what": f"failed: {reason}"} for reason in list(reasons)[:5])


def _board(ran: Ran) -> Iterator[dict[str, Any]]:
    """What the leaderboard says already."""
    path = ran.site / "leaderboard.parquet"
    for line in pq.read_table(path).to_pylist() if path.exists() else []:
        for metric in _METRICS:
            if line.get(metric) is not None:
                yield {"what": f"{line['model']}: {metric}", "value": line[metric], "low": line.get(f"{metric}_low"),
                       "high": line.get(f"{metric}_high"), "replicas": line["num_replicas"]}  # fmt: skip
