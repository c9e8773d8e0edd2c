"""What 100,000 trials cost before the first can start, and 100,000 rows on the page: `python -m perf.scale --help`.

Every measurement is a process of its own, so that its memory is its own too.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from benchmark.planning.check import prepare
from benchmark.results.store import Store
from benchmark.running.run import Event, run
from benchmark.trials.trial import Settings
from perf import filling


class Begun(Exception):
    """The run knows what it has to do: the first trial could start."""


def plan_command(path: str, results: str) -> dict[str, Any]:
    """`bench plan`."""
    from benchmark.cli.run_plan_status import plan

    plan.main([path, "--results", results], standalone_mode=False)
    return {}


def resume(path: str, results: str) -> dict[str, Any]:
    """All that `bench run` does before it starts an executor."""
    prepared, store = prepare(path, None, ()), Store(results)
    store.writable()
    store.write_plan(prepared.plan, prepared.about)
    seen: list[Event] = []
    run(prepared.plan, store, _begun, Settings(results), on_event=seen.append)
    begun = next(event for event in seen if event.kind == "begun")
    return {"trials": begun.num_total, "done": begun.num_done}


def _begun(settings: Settings) -> Any:
    raise KeyboardInterrupt


def fill(path: str, results: str) -> dict[str, Any]:
    """A store with all trials finished, and the manifest of the suite."""
    prepared, store = prepare(path, None, ()), Store(results)
    store.writable()
    store.write_plan(prepared.plan, prepared.about)
    filling.fill(store, prepared.plan)
    return {"MB": round(sum(filling.files(store.root)) / 1e6)}


def compact(path: str, results: str) -> dict[str, Any]:
    """`bench compact`."""
    from benchmark.results.compaction import compact as gather

    store = Store(results)
    return {"new": gather(store).num_new, "index MB": round(sum(filling.files(Path(results) / "index")) / 1e6, 1)}


def page(path: str, results: str) -> dict[str, Any]:
    """`bench leaderboard`."""
    from benchmark.aggregation.page_tables import summarise
    from leaderboard.build import build

    site = Path(results).with_name("site")
    summarise(Store(results), site)
    build(site)
    return {"site MB": round(sum(filling.files(site)) / 1e6)}


WORK: dict[str, Callable[[str, str], dict[str, Any]]] = {
    "plan": plan_command,
    "resume": resume,
    "fill": fill,
    "compact": compact,
    "page": page,
}
STEPS = ["plan", "resume", "fill", "plan", "resume", "resume", "compact", "plan", "resume", "page", "page"]


def measured(what: str, path: Path, results: Path) -> dict[str, Any]:
    """Wall and CPU seconds and the peak of memory of one piece of work in a process of its own."""
    begin = time.monotonic()
    command = [sys.executable, "-m", "perf.scale", "--do", what, str(path), str(results)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {"what": what, "wall_s": time.monotonic() - begin, **json.loads(done.stdout.splitlines()[-1])}


def _do(what: str, path: str, results: str) -> None:
    found = WORK[what](path, results)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps(
            {"user_s": usage.ru_utime, "system_s": usage.ru_stime, "peak_MB": usage.ru_maxrss * 1024 // 10**6, **found}
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m perf.scale", description=__doc__)
    parser.add_argument("--trials", type=int, default=100_000, help="of the suite; default: 100000")
    parser.add_argument("--inversions", type=int, default=4, choices=range(1, 5), help="inversion attacks; default: 4")
    parser.add_argument("--folder", type=Path, help="keep suite, results and page here; default: a temporary folder")
    parser.add_argument("--only", nargs="+", choices=WORK, default=STEPS)
    parser.add_argument("--do", nargs=3, metavar=("WHAT", "SUITE", "RESULTS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.do:
        _do(*options.do)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "suite.yaml"
        path.write_text(yaml.safe_dump(filling.suite(options.trials, options.inversions), sort_keys=False))
        for what in options.only:
            line = measured(what, path, folder / "results")
            print(
                "  ".join(f"{k} {v:.1f}" if isinstance(v, float) else f"{k} {v}" for k, v in line.items()), flush=True
            )


if __name__ == "__main__":
    main()
