"""A whole suite through `bench run`, on the GPU and on the CPU: are the conclusions the same?"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

_BENCH = "from benchmark.cli import main\nif __name__ == '__main__':\n    main()\n"
_METRICS = ("clean_accuracy", "robust_accuracy", "evaluator_accuracy", "in_rate", "membership_auc")
_ROOT = Path(__file__).parents[2]


def measure(device: str, tiny: bool) -> list[dict[str, Any]]:
    path = _ROOT / ("tests/suites/tiny.yaml" if tiny else "suites/quick.yaml")
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "program.py"  # workers are spawned, and import what was run
        program.write_text(_BENCH)
        there, seconds = _ran(program, path, device, ["--gpus-per-trial", "0.125"] if device == "cuda" else [])
        rows = [{"model": "all", "metric": f"wall seconds, {device}", device: seconds}]
        here, seconds = _ran(program, path, "cpu", ["--slots", "2"] if tiny else [])
        rows.append({"model": "all", "metric": "wall seconds, cpu", "cpu": seconds})
    for name, row in there.items():
        for metric in _METRICS:
            one, other = ({k: r.get(f"{metric}{k}") for k in ("", "_low", "_high")} for r in (row, here[name]))
            overlap = one["_low"] is None or (one["_low"] <= other["_high"] and other["_low"] <= one["_high"])
            verdict = "intervals overlap" if overlap else "APART"
            rows.append({"model": name, "metric": metric, device: one[""], "cpu": other[""], "verdict": verdict})
        rows.append({"model": name, "metric": "controls_passed", device: str(row["controls_passed"]),
                     "cpu": str(here[name]["controls_passed"])})  # fmt: skip
    return rows


def _ran(program: Path, path: Path, device: str, more: list[str]) -> tuple[dict[str, dict[str, Any]], float]:
    """Model -> row of the leaderboard, and the run's wall seconds."""
    folder = program.with_name(f"on-{device}-{len(more)}")
    call = [sys.executable, str(program), "run", str(path), "--executor", "local", "--device", device, *more]
    begin = time.monotonic()
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    subprocess.run([*call, "--results", folder / "results", "--site", folder / "site"], check=True, cwd=_ROOT, env=env)
    found = pq.read_table(folder / "site" / "leaderboard.parquet").to_pylist()
    return {row["model"]: row for row in found}, time.monotonic() - begin
