"""A stage that tells which process runs it; it loads no torch."""

import os
import time
from pathlib import Path

from benchmark.registry import register
from benchmark.trials.trial import Context, Outcome, Stage


class Telling(Stage):
    TORCH = False
    folder: str
    seconds: float

    def run(self, context: Context) -> Outcome:
        (Path(self.folder) / str(os.getpid())).touch()
        time.sleep(self.seconds)
        return Outcome(rows=[{"metric": "done", "value": 1.0}])


register("stage", "telling", Telling)
