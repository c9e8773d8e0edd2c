"""Run `toy.counted` on a store: FOLDER COUNT SECONDS. Prints how many trials it executed itself."""

import sys
from pathlib import Path

import toy

from benchmark.results.store import Store
from benchmark.running.executors.local import LocalExecutor
from benchmark.running.run import run

if __name__ == "__main__":
    store = Store(sys.argv[1])
    plan = toy.counted(Path(sys.argv[2]), float(sys.argv[3]))
    print(run(plan, store, lambda settings: LocalExecutor(settings, 2), toy.settings(store)).num_executed)
