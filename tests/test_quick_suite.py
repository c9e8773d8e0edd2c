"""The shipped demo, whole: it must show the finding by itself, and pass its own controls."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parent.parent
BENCH = Path(sys.executable).parent / "bench"
pytestmark = [pytest.mark.slow(200), pytest.mark.ray]
STANDARD = ["softmax-regression", "small-vgg", "small-resnet"]
TRAINED_ADVERSARIALLY = "small-resnet-pgd-at"


def bench_run(folder: Path) -> str:
    command = [BENCH, "run", ROOT / "suites" / "quick.yaml", "--results", folder / "results", "--site", folder / "site"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=800, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quick")
    bench_run(folder)
    return folder


@pytest.fixture(scope="module")
def board(finished: Path) -> pd.DataFrame:
    return pd.read_parquet(finished / "site" / "leaderboard.parquet").set_index("model")


def test_standard_models_are_not_robust_and_the_adversarially_trained_one_is(board: pd.DataFrame) -> None:
    assert (board.loc[STANDARD, "robust_accuracy_high"] < 0.12).all()
    assert board.loc[TRAINED_ADVERSARIALLY, "robust_accuracy_low"] > 0.45
    assert not board["masking_suspected"].any()


def test_only_the_robust_model_gives_recognisable_pictures(finished: Path, board: pd.DataFrame) -> None:
    """One pair of replicas is little: against the small ResNet of the same architecture it is no proof after Holm."""
    recognised = board["evaluator_accuracy"]
    assert recognised[TRAINED_ADVERSARIALLY] > recognised[STANDARD].max() + 0.2
    compared = pd.read_parquet(finished / "site" / "comparisons.parquet")
    compared = compared[(compared["metric"] == "evaluator_accuracy") & (compared["other"] == TRAINED_ADVERSARIALLY)]
    assert set(compared["model"]) == set(STANDARD) and (compared["difference"] < 0).all()
    assert (compared.set_index("model").loc[["softmax-regression", "small-vgg"], "p_holm"] < 0.05).all()


def test_every_control_comes_out_as_it_must(finished: Path, board: pd.DataFrame) -> None:
    assert board["controls_passed"].all()
    results = pd.read_parquet(finished / "site" / "results.parquet")
    passed = results[(results["stage"] == "control") & (results["metric"] == "passed")]
    assert len(passed) == 6 * 4, "six controls in four spaces"


def test_a_second_run_executes_nothing(finished: Path, board: pd.DataFrame) -> None:
    assert "0 trials run, 161 there before, 0 failed" in bench_run(finished)
    again = pd.read_parquet(finished / "site" / "leaderboard.parquet").set_index("model")
    pd.testing.assert_frame_equal(again, board)
