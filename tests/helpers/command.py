"""The `bench` command as a user calls it, and what it leaves behind."""

import copy
import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import yaml
from click.testing import CliRunner, Result

from benchmark.cli import main
from benchmark.results.store import Store
from benchmark.schema import PROVENANCE


class Run(NamedTuple):
    """A finished run of the tiny suite. Tests must not write into its folders."""

    results: Path
    site: Path
    stdout: str
    stderr: str


BENCH = str(Path(sys.executable).with_name("bench"))
ROOT = Path(__file__).parents[2]
HELPERS = ROOT / "tests" / "helpers"
TINY = ROOT / "tests" / "suites" / "tiny.yaml"
ONE = ("--executor", "local", "--slots", "1")
"""For a run of few trials: a second process takes longer to load torch than they take."""


def bench(
    *arguments: str | Path, env: Mapping[str, str] | None = None, timeout: float = 240
) -> "subprocess.CompletedProcess[str]":
    """The console script in a process of its own; no terminal, and no GPU, though the environment names one."""
    variables = {**os.environ, "CUDA_VISIBLE_DEVICES": "NoDevFiles", **(env or {})}
    return subprocess.run([BENCH, *arguments], capture_output=True, text=True, env=variables, timeout=timeout)


def without_ray(folder: Path) -> dict[str, str]:
    """An environment in which `import ray` fails. folder: to write into."""
    (folder / "no_ray").mkdir(exist_ok=True)
    (folder / "no_ray" / "ray.py").write_text("raise ImportError('there is no Ray in this test')\n")
    return {"PYTHONPATH": os.pathsep.join([str(folder / "no_ray"), *filter(None, [os.environ.get("PYTHONPATH")])])}


def shadowed(folder: Path) -> None:
    """Files and folders there that are called as modules are which workers need."""
    for name in ("benchmark", "torch", "random", "yaml", "pickle", "selectors"):
        (folder / f"{name}.py").write_text("raise RuntimeError('not from the current folder')\n")
    (folder / "leaderboard").mkdir()
    (folder / "leaderboard" / "__init__.py").write_text("raise RuntimeError('not from the current folder')\n")


def call(*arguments: str | Path) -> Result:
    """The same in this process, where torch is loaded already."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def refusal(result: "Result | subprocess.CompletedProcess[str]") -> str:
    """The one line that a user's mistake ends in."""
    if isinstance(result, Result):
        assert isinstance(result.exception, SystemExit), result.exception
        code, lines = result.exit_code, result.stderr.splitlines()
    else:
        code, lines = result.returncode, result.stderr.splitlines()
    assert code == 2 and len(lines) == 1, (code, lines)
    assert lines[0].startswith("bench: error: ") and "Traceback" not in lines[0]
    return lines[0].removeprefix("bench: error: ")


def tiny(*edits: tuple[str, Any]) -> dict[str, Any]:
    """The tiny suite with some values replaced: ("models.0.regime.lr", 0.1); None takes the key away."""
    suite: dict[str, Any] = copy.deepcopy(yaml.safe_load(TINY.read_text()))
    for path, value in edits:
        *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        place: Any = suite
        for part in way:
            place = place[part]
        if value is None:
            del place[last]
        else:
            place[last] = value
    return suite


def write(folder: Path, suite: Mapping[str, Any], name: str = "suite.yaml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(yaml.safe_dump(dict(suite), sort_keys=False))
    return path


def snapshot(folder: Path) -> dict[str, str]:
    """Path -> sha256 of every file in a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


Measured = dict[str, tuple[pa.Table, dict[str, str]]]


def measured(results: Path) -> Measured:
    """Key -> (rows without provenance, hashes of all artifacts) of every finished trial."""
    store, found = Store(results), {}
    made = {name for name, _, _ in PROVENANCE} - {"trial_key"}
    for key in store.keys():
        rows = store.rows(key)
        files = snapshot(store.folder(key))
        artifacts = {name: digest for name, digest in files.items() if name not in ("rows.parquet", "trial.json")}
        found[key] = (rows.drop_columns([name for name in rows.column_names if name in made]), artifacts)
    return found
