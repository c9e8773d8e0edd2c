"""Every row says which code, on what, made it."""

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmark.schema import PROVENANCE
from benchmark.trials import provenance as module
from benchmark.trials.provenance import git_commit, provenance, versions


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A checkout with one commit, which the package seems to run from."""
    (tmp_path / "benchmark" / "trials").mkdir(parents=True)
    (tmp_path / "benchmark" / "trials" / "provenance.py").write_text("x = 1\n")
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for arguments in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "one"]):
        subprocess.run(["git", "-C", tmp_path, *arguments], check=True)
    monkeypatch.setattr(module, "__file__", str(tmp_path / "benchmark" / "trials" / "provenance.py"))
    git_commit.cache_clear()
    yield tmp_path
    git_commit.cache_clear()


def test_the_columns_are_those_of_the_schema() -> None:
    made = provenance("cpu", 3)
    of_the_run = {"trial_key", "wall_s", "gpu_s", "gpus", "gpu_utilisation", "gpu_memory_bytes", "host_memory_bytes"}
    assert made.keys() == {name for name, _, _ in PROVENANCE} - of_the_run
    assert made["threads"] == 3 and made["device"]
    assert abs((datetime.now(UTC) - datetime.fromisoformat(made["created_utc"])).total_seconds()) < 60


def test_versions_name_what_numbers_depend_on() -> None:
    import torch

    named = dict(part.split(" ") for part in versions().split(", "))
    assert named["torch"] == torch.__version__.partition("+")[0] or named["torch"] == torch.__version__
    assert {"python", "torchvision", "numpy", "pyarrow"} <= named.keys()


def test_a_changed_checkout_is_marked(checkout: Path) -> None:
    head = subprocess.run(["git", "-C", checkout, "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    (checkout / "results").mkdir()
    (checkout / "results" / "x").write_text("not code")
    assert git_commit() == head and len(head) == 40
    git_commit.cache_clear()
    (checkout / "benchmark" / "provenance.py").write_text("x = 2\n")
    assert git_commit() == f"{head}-dirty"


@pytest.mark.parametrize("why", ["no checkout", "no git"])
def test_without_git_it_is_the_version(checkout: Path, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    if why == "no git":
        monkeypatch.setenv("PATH", "")
    else:
        (checkout / ".git").rename(checkout / "elsewhere")
    monkeypatch.setattr(module, "_version", lambda distribution: "1.2.3")
    assert git_commit() == "robust-or-private 1.2.3"
