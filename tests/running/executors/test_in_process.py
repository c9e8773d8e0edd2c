"""Trials in the caller's process: the bits of worker processes, and nothing of the caller's changes."""

import threading
import time
from pathlib import Path

import command
import pytest
import torch
import toy

import benchmark
from benchmark.running.executors.in_process import InProcessExecutor
from benchmark.trials.trial import Settings, Trial


@pytest.mark.slow
def test_the_numbers_are_those_of_worker_processes(tiny_run: command.Run, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            report = benchmark.run(command.TINY, tmp_path / "results", device="cpu")
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert (report.num_run, report.num_cached, report.num_missing) == (87, 0, 0)
    assert command.measured(tmp_path / "results") == command.measured(tiny_run.results)
    again = benchmark.run(command.TINY, tmp_path / "results", device="cpu")
    assert (again.num_run, again.num_cached) == (0, 87)


SPIN = """
import time
from benchmark.registry import register
from benchmark.trials.trial import Stage
class Spin(Stage):
    def run(self, context):
        while True:
            time.sleep(0.01)
register("stage", "spin", Spin)
"""


@pytest.mark.slow
def test_leaving_it_ends_the_trial_that_runs(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(SPIN)
    settings = Settings(str(tmp_path / "results"), include=(str(tmp_path / "mine.py"),))
    with InProcessExecutor(settings) as executor:
        executor.submit(Trial({"method": "spin"}, 0))
        assert executor.wait(timeout=2.0) == []
        begin = time.monotonic()
    assert time.monotonic() - begin < 30
    assert all(thread.name != "bench-trials" for thread in threading.enumerate())
    assert not list((tmp_path / "results").rglob("trial.json"))


def test_a_trial_that_raises_is_reported_with_its_traceback(tmp_path: Path) -> None:
    settings = Settings(str(tmp_path / "results"), include=(toy.STAGES,))
    with InProcessExecutor(settings) as executor:
        executor.submit(Trial({"method": "toy_fail", "until": str(tmp_path / "never")}, 0))
        (finished,) = executor.wait(timeout=60)
    assert "RuntimeError: the toy broke" in finished.error


@pytest.fixture(autouse=True)
def forgotten(registered: None) -> None:
    """What the toys register."""
