"""Stages that sleep instead of computing, and load no torch; given to simulated runs with `--include`."""

import hashlib
import time

import pyarrow as pa

from benchmark.registry import register
from benchmark.trials.trial import Context, Outcome, Stage


class Sleep(Stage):
    """Sleeps, then writes numbers that depend on its key and on what its parents wrote."""

    TORCH = False
    seconds: float = 0.0

    def run(self, context: Context) -> Outcome:
        time.sleep(self.seconds)
        own = int.from_bytes(hashlib.sha256(context.trial.key.encode()).digest()[:4], "big") / 2**32
        total = own + sum(context.table(role, "total")["total"][0].as_py() for role in context.trial.inputs)
        rows = [{"metric": "own", "value": own}, {"metric": "total", "value": total, "n": len(context.trial.inputs)}]
        return Outcome(rows=[*rows], tables={"total": pa.table({"total": [total]})})  # type: ignore[list-item]


class Span(Stage):
    """Sleeps, and says when."""

    TORCH = False
    seconds: float = 0.0

    def run(self, context: Context) -> Outcome:
        begin = time.time()
        time.sleep(self.seconds)
        return Outcome(rows=[{"metric": "begin", "value": begin}, {"metric": "end", "value": time.time()}])


register("stage", "sleep", Sleep)
register("stage", "span", Span)
