"""Suites and results from Python: what the command says of them, as DataFrames."""

import shutil
import subprocess
import sys
from pathlib import Path

import command
import pyarrow.parquet as pq
import pytest

import benchmark
from benchmark.evasion.attack import Evasion, Perturbed
from benchmark.planning.check import prepare
from benchmark.registry import register
from benchmark.spec import SpecError


class Brighter(Evasion):
    """Of a notebook."""

    def perturb(self, model, images, labels, generator):  # type: ignore[no-untyped-def]
        return Perturbed((images + self.epsilon).clamp(0, 1), labels)


def test_a_plan_has_every_trial_and_what_is_there(tiny_run: command.Run, tmp_path: Path) -> None:
    nodes = prepare(str(command.TINY), None, ()).plan.nodes
    there = benchmark.plan(benchmark.load_suite(command.TINY), tiny_run.results)
    assert list(there["key"]) == [node.key for node in nodes] and there["cached"].all()
    nothing = benchmark.plan(command.TINY, tmp_path / "results")
    assert not nothing["cached"].any() and not (tmp_path / "results").exists()
    assert set(nothing.loc[nothing["stage"] == "train", "model"]) >= {"softmax", "hardened", ""}


def test_results_are_the_tables_of_the_page(tiny_run: command.Run) -> None:
    found = benchmark.load_results(tiny_run.results)
    board = pq.read_table(tiny_run.site / "leaderboard.parquet").to_pandas()
    assert found.leaderboard.equals(board)
    assert found.metrics.equals(pq.read_table(tiny_run.site / "results.parquet").to_pandas())
    assert set(found.status["state"]) == {"done"} and found.failures.empty
    with pytest.raises(ValueError, match=r"^no suite was run in "):
        benchmark.load_results(tiny_run.site / "nothing")


@pytest.mark.usefixtures("registered")
def test_a_run_reports_and_warns_of_what_failed(tiny_run: command.Run, tmp_path: Path) -> None:
    results = tmp_path / "results"
    shutil.copytree(tiny_run.results, results)
    suite = benchmark.load_suite(command.TINY)
    (tmp_path / "mine.py").write_text(BROKEN)
    text = command.tiny(("evasion.1", {"method": "broken", "norm": "l2", "epsilon": 0.5}))
    path = command.write(tmp_path, text)
    assert benchmark.run(suite, results).num_run == 0
    with pytest.warns(UserWarning, match=r"^\d+ of 87 trials failed or were not run; see failures$"):
        report = benchmark.run(path, results, include=[str(tmp_path / "mine.py")])
    assert set(report.failures["stage"]) == {"evade"} and len(report.failures) == report.num_missing
    assert report.failures["error"].str.contains("ZeroDivisionError").all()
    assert report.failures["traceback"].str.contains("1 / 0").all()
    assert report.table["model"].tolist() == ["softmax", "hardened"]


BROKEN = """
from benchmark.evasion.attack import Evasion
from benchmark.registry import register
class Broken(Evasion):
    def perturb(self, model, images, labels, generator):
        1 / 0
register("evasion", "broken", Broken)
"""


def test_a_method_of_the_notebook_alone_is_refused(registered: None, tmp_path: Path) -> None:
    """Nothing would tell its trials from those of another version of it."""
    register("evasion", "brighter", Brighter)
    path = command.write(tmp_path, command.tiny(("evasion.1", {"method": "brighter", "norm": "l2", "epsilon": 0.5})))
    with pytest.raises(SpecError, match=r"^Brighter is registered in this process alone; allowed: a file with it, inc"):
        benchmark.run(path, tmp_path / "results")


@pytest.mark.parametrize("wrong", [{"executor": "threads"}, {"rerun": "some"}, {"device": "gpu"}])
def test_wrong_arguments_are_refused_in_a_line(wrong: dict[str, str], tmp_path: Path) -> None:
    (name,) = wrong
    with pytest.raises(SpecError, match=rf"{name}: ") as refused:
        benchmark.run(command.TINY, tmp_path / "results", **wrong)  # type: ignore[arg-type]
    assert "\n" not in str(refused.value) and not list(tmp_path.iterdir())


def test_show_needs_no_notebook(tiny_run: command.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(tiny_run.results, tmp_path / "results")
    benchmark.run(command.TINY, tmp_path / "results").show()
    shown = capsys.readouterr().out
    assert "suite tiny: most robust first" in shown and "controls: " in shown


def test_a_script_needs_no_main_guard(tiny_run: command.Run, tmp_path: Path) -> None:
    shutil.copytree(tiny_run.results, tmp_path / "results")
    script = tmp_path / "script.py"
    script.write_text(
        "import shutil, benchmark\n"
        f"shutil.rmtree({str(tmp_path / 'results' / 'trials')!r} + '/' + "
        f"benchmark.plan({str(command.TINY)!r}, {str(tmp_path / 'results')!r}).key.iloc[-1][:2])\n"
        f"report = benchmark.run({str(command.TINY)!r}, {str(tmp_path / 'results')!r}, device='cpu')\n"
        "print(report.num_run > 0, report.num_missing)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=240)
    assert (done.stdout, done.stderr) == ("True 0\n", "")
