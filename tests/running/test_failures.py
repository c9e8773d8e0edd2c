"""A trial that fails keeps its traceback, the others go on, the page says why, and a rerun tries it again."""

import shutil
import subprocess
from pathlib import Path

import command
import pyarrow.parquet as pq
import pytest
from command import Run, bench, call

from benchmark.results.store import Store

pytestmark = pytest.mark.slow
BREAKING = command.HELPERS / "breaking.py"
SOFTMAX = command.tiny()["models"][0]
MODELS = [
    {**SOFTMAX, "name": "diverged", "regime": {"method": "standard", "epochs": 40, "lr": 1000, "weight_decay": 1000}},
    {**SOFTMAX, "name": "too large", "regime": "out_of_memory"},
    *command.tiny()["models"],
]
EVASION = [
    *({"method": name, "norm": "l2", "epsilon": 0.5} for name in ("raising", "cheating")),
    *command.tiny()["evasion"],
]
INVERSION = [*command.tiny()["inversion"], "not_a_number"]


class Broken:
    """A suite with much that fails, over a copy of the finished tiny run."""

    def __init__(self, folder: Path, tiny_run: Run) -> None:
        self.results, self.site, self.mended = folder / "results", folder / "site", folder / "mended"
        shutil.copytree(tiny_run.results, self.results)
        edits = {"name": "broken", "models": MODELS, "evasion": EVASION, "inversion": INVERSION}
        self.suite = command.write(folder, command.tiny(*edits.items()))

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        places = ("--results", self.results, "--site", self.site, "--include", BREAKING, *command.ONE)
        return bench("run", self.suite, *places, *arguments, env={"MENDED": str(self.mended)})


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory, tiny_run: Run) -> Broken:
    return Broken(tmp_path_factory.mktemp("broken"), tiny_run)


@pytest.fixture(scope="module")
def first(broken: Broken) -> "subprocess.CompletedProcess[str]":
    return broken.run()


REASONS = {
    "diverged": "FloatingPointError: the training loss is ",
    "too large": "MemoryError: no room for the gradients",
    "raising": "RuntimeError: the user's attack <b>broke</b>",
    "cheating": "ValueError: evasion 'cheating' left its ball or [0, 1]: largest distance",
    "not_a_number": "FloatingPointError: inversion 'not_a_number': reconstructions hold NaN or infinity",
}


def test_others_go_on_and_the_exit_code_is_1(broken: Broken, first: "subprocess.CompletedProcess[str]") -> None:
    assert first.returncode == 1, first.stdout + first.stderr
    assert first.stderr == "" and "Traceback" not in first.stdout
    # Per replica: 2 trainings, 2 attacks on 2 models, 1 inversion of 2 models. PGD is no longer the primary attack.
    assert "4 trials run, 83 there before, 16 failed" in first.stdout.splitlines()[-1]
    for reason in REASONS.values():
        assert reason in first.stdout
    board = {row["model"]: row for row in pq.read_table(broken.site / "leaderboard.parquet").to_pylist()}
    for model in ("softmax", "hardened"):
        assert board[model]["clean_accuracy"] is not None and board[model]["in_rate"] is not None
        assert board[model]["robust_accuracy"] is None and board[model]["pareto"] is None
    for model in ("diverged", "too large"):
        measured = {name for name, value in board[model].items() if value is not None}
        assert not measured & {"clean_accuracy", "robust_accuracy", "in_rate", "membership_auc", "num_members"}


@pytest.mark.usefixtures("first")
def test_each_failure_keeps_its_traceback(broken: Broken) -> None:
    failures = Store(broken.results).failures().values()
    assert len(failures) == 16
    for name, reason in REASONS.items():
        own = [f for f in failures if name in (f["model"], f["method"].partition("-")[0])]
        assert own, name
        for failure in own:
            text = failure["traceback"]
            assert text.startswith("Traceback (most recent call last):") and reason in text and ", line " in text
    assert any(f'File "{BREAKING}", line' in failure["traceback"] for failure in failures)


@pytest.mark.usefixtures("first")
def test_status_and_page_say_why(broken: Broken) -> None:
    status = call("status", "--results", broken.results)
    text = " ".join(status.stdout.split())
    assert "suite broken: " in text and "16 failed" in text
    notes: dict[str, str] = {}
    for row in pq.read_table(broken.site / "results.parquet").to_pylist():
        if row["suite"] == "broken" and row["value"] is None and row["replica"] is None:
            notes[f"{row['model']} {row['metric']}"] = row["note"]
    assert notes["diverged clean_accuracy"].startswith(f"train failed: {REASONS['diverged']}")
    assert notes["too large in_rate"] == f"train failed: {REASONS['too large']}"
    assert notes["softmax robust_accuracy"] == f"evade failed: {REASONS['raising']}"
    page = next(path for path in broken.site.glob("models/broken*too*.html")).read_text()
    assert "no room for the gradients" in page
    page = (broken.site / "models" / "broken--softmax.html").read_text()
    assert "attack &lt;b&gt;broke&lt;/b&gt;" in page and "<b>broke" not in page


@pytest.mark.usefixtures("first")
def test_a_rerun_tries_the_failed_again(broken: Broken) -> None:
    broken.mended.touch()
    done = broken.run("--rerun", "failed")
    assert done.returncode == 1 and "4 trials run, " in done.stdout and " 12 failed" in done.stdout.splitlines()[-1]
    assert len(Store(broken.results).failures()) == 12
    board = {row["model"]: row for row in pq.read_table(broken.site / "leaderboard.parquet").to_pylist()}
    assert board["softmax"]["robust_accuracy"] == pytest.approx(board["softmax"]["clean_accuracy"], abs=0.1)
    before = command.snapshot(broken.results / "trials")
    again = call("leaderboard", "--results", broken.results, "--site", broken.site)
    assert again.exit_code == 0 and command.snapshot(broken.results / "trials") == before
