"""What `make gpu` runs, tried where there is no GPU: that it is right and goes on, not how fast it is."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command import Run

from benchmark.data import fashion_mnist
from benchmark.machine.interrupts import INTERRUPTED
from perf.gpu import bench_run, fashion, speed, suite

Sections = dict[str, dict[str, Any]]


def sections(folder: Path, *more: str) -> tuple[int, Sections]:
    call = [sys.executable, "-m", "perf.gpu", "--device", "cpu", "--tiny", "--output", str(folder), *more]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}  # threads that wait for each other are slow beside other tests
    done = subprocess.run(call, capture_output=True, text=True, timeout=600, env=env)
    found = json.loads((folder / "gpu.json").read_text())["sections"]
    return done.returncode, {section["name"]: section for section in found}


def said(section: dict[str, Any]) -> str:
    return "\n".join(row["what"] for row in section["rows"])


@pytest.mark.slow(60)
def test_sections_run_to_their_end(tmp_path: Path) -> None:
    """Those that run no suite; see below for the others."""
    code, found = sections(tmp_path, "--minutes", "15", "--only", "truth", "speed", "shares", "neighbors")
    assert code == 0 and not any(section["problem"] for section in found.values()), found
    assert list(found) == ["truth", "speed", "shares", "neighbors"]

    verdicts = [row["verdict"] for row in found["truth"]["rows"]]
    assert len(verdicts) > 50 and set(verdicts) <= {"within", "equal", "tells nothing"}
    for part in ("logits", "input gradients", "PGD-3 linf", "APGD-3 linf", "targeted DLR", "inversion", "training",
                 "twice: pixels", "trial twice: train", "trial twice: evade apgd", "trial twice: invert"):  # fmt: skip
        assert part in said(found["truth"]), part

    goals = {row["what"]: row["goal"] for row in found["speed"]["rows"] if "goal" in row}
    assert len(goals) == 7 and all(": at least" in goal for goal in goals.values())
    assert all(row["times"] > 0 for row in found["speed"]["rows"] if "image steps" in row["what"])

    page = (tmp_path / "gpu.md").read_text()
    assert page.count("\n### ") == 4 and "torch 2" in page and "this project" in page


def test_sections_that_run_a_suite(tiny_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a run of the tiny suite in place of theirs: a CPU against itself, and one that came to its end."""
    ran = bench_run.Ran(0, 12.5, tiny_run.results, tiny_run.site)
    for section in (suite, fashion):
        monkeypatch.setattr(section, "bench_run", lambda *_, **__: ran)
    of_suite = {"rows": list(suite.measure("cpu", True))}
    assert "comparisons of two models: 0 of 9 differ" in said(of_suite)
    assert {row["verdict"] for row in of_suite["rows"][2:]} == {"same"}
    of_fashion = {"rows": list(fashion.measure("cpu", True, 60, None, None))}
    every = next(row for row in of_fashion["rows"] if "ended by itself" in row["what"])
    assert every["of"] == every["done"] == 87 and not every["failed"] and every["seconds of trials"] > 0
    assert "softmax: robust_accuracy" in said(of_fashion)


@pytest.mark.slow
def test_what_there_is_no_time_for_is_said(tmp_path: Path) -> None:
    code, found = sections(tmp_path, "--only", "speed", "neighbors", "--minutes", "0.02")
    assert code == 1
    assert [section["problem"] for section in found.values()] == ["not begun: 1 s were left for it"] * 2


@pytest.mark.slow(10)
def test_the_real_thing_stops_in_time_as_by_ctrl_c(tmp_path: Path) -> None:
    ran = bench_run.bench_run(tmp_path, "tests/suites/tiny.yaml", "cpu", limit_s=6, grace_s=60)
    assert ran.code == INTERRUPTED
    assert "stopped as by Ctrl-C" in next(fashion._trials(ran))["what"]


def test_where_its_data_are_missing_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", tmp_path / "debian")
    monkeypatch.delenv("BENCH_DATA", raising=False)
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    with pytest.raises(ValueError, match=f"fashion_mnist: no folder holds .*{tmp_path}/given"):
        next(iter(fashion.measure("cpu", False, 60, tmp_path / "given", None)))


@pytest.mark.parametrize(("does", "code"), [("sys.exit(130)", 130), ("pass", None)])
def test_who_does_not_heed_ctrl_c_is_killed(does: str, code: int | None) -> None:
    program = f"""import signal, sys, time
def handle(*_):
    {does}
signal.signal(signal.SIGINT, handle)
print("ready", flush=True)
end = time.monotonic() + 60
while time.monotonic() < end:
    time.sleep(0.05)"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    assert bench_run._waited(process, 0.1, 5 if code else 0.3) == code
    assert process.returncode == (code or -signal.SIGKILL)
    process.stdout.close()


@pytest.mark.slow
def test_a_refused_suite_is_told_in_its_own_words(tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text("name: x\nmodel: []\n")
    with pytest.raises(RuntimeError, match=r"suite.yaml: exit code 2: .*model"):
        bench_run.bench_run(tmp_path / "run", str(tmp_path / "suite.yaml"), "cpu")


def test_goals_are_reached_or_missed() -> None:
    assert speed.goal(4.0, 4.0) == "reached: at least 4"
    assert speed.goal(0.349, 0.35) == "missed: at least 0.35"


def test_a_share_is_operations_a_second_over_the_ceiling() -> None:
    bench = speed.Bench("cpu", "small_resnet", 64, 32, 3, 1, speed.Ceilings(1e12, 1e12, 1e12))
    row = bench.row("x", images=200, took=4.0, operations=2e9, peak=1e12, n=64)
    assert row == {"what": "x", "images/s": 50.0, "TFLOP/s": 0.1, "share of its ceiling": 0.1, "n": 64}
