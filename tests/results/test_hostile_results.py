"""A results folder from an unknown hand: the commands end in one line or a page, and nothing outside it changes."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import command
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import call

from benchmark.results.store import Store

Edit = Callable[[dict[str, Any]], Any]


def _plan(results: Path) -> Path:
    return next((results / "plans").iterdir())


def _edit(path: Path, edit: Edit) -> None:
    """Who forges a record leaves its checksum out, as older versions did."""
    value = json.loads(path.read_text())
    value.pop("checksum")
    path.write_text(json.dumps(edit(value) or value))


def _of(results: Path, stage: str) -> Path:
    """Folder of a trial of a model that the page shows."""
    store = Store(results)
    (plan,) = store.plans()
    shown = {model["name"] for model in plan["about"]["models"]}
    key = next(node["key"] for node in plan["nodes"] if node["stage"] == stage and node["model"] in shown)
    return store.folder(key)


def _forge(results: Path, stage: str, name: str, content: bytes) -> None:
    """Replace a file of a trial, and its size and hash in the mark."""
    folder = _of(results, stage)
    (folder / name).write_bytes(content)

    def edit(mark: dict[str, Any]) -> None:
        mark["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}

    _edit(folder / "trial.json", edit)


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue().to_pybytes())


def _about(**changes: Any) -> Callable[[Path, Path], None]:
    return lambda results, _: _edit(_plan(results), lambda plan: plan["about"].update(changes))


def _link(results: Path, outside: Path, name: str) -> None:
    """A symbolic link to the folder outside, in place of what is there."""
    path = results / name
    if path.is_dir():
        shutil.rmtree(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(outside)


def _record(kind: str, content: Any) -> Callable[[Path, Path], None]:
    def write(results: Path, _: Path) -> None:
        (results / kind).mkdir(exist_ok=True)
        text = content if isinstance(content, bytes) else json.dumps(content).encode()
        (results / kind / "x.json").write_bytes(text)

    return write


DEEP = b'{"record": "plans", "suite": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
FAILURE = {"record": "failures", "key": "../../outside", "traceback": 3, "attempts": "many"}
HOSTILE: dict[str, Callable[[Path, Path], None]] = {
    "keys that lead outside": lambda r, _: _edit(
        _plan(r), lambda plan: plan.update(keys=[f"../../outside/{i}" for i in range(len(plan["keys"]))])
    ),
    "keys that are no text": lambda r, _: _edit(_plan(r), lambda plan: plan.update(keys=[3] * len(plan["keys"]))),
    "labels that are no text": lambda r, _: _edit(
        _plan(r), lambda plan: plan["nodes"].update(model=[{"a": 1}] * len(plan["nodes"]["model"]))
    ),
    "replicas that are no numbers": lambda r, _: _edit(
        _plan(r), lambda plan: plan["nodes"].update(replica=["x"] * len(plan["nodes"]["replica"]))
    ),
    "costs that are no numbers": lambda r, _: _edit(
        _plan(r), lambda plan: plan["nodes"].update(cost=["1e9"] * len(plan["nodes"]["cost"]))
    ),
    "about nothing": lambda r, _: _edit(_plan(r), lambda plan: plan.update(about=3)),
    "about no models": _about(models="all"),
    "about models without names": _about(models=[{"architecture": 3}]),
    "about no attacks": _about(evasion=[]),
    "about attacks of another kind": _about(inversion={"a": 1}),
    "about strange prices": _about(prices={"gpu_hour": "free"}),
    "a name of a page that leads outside": _about(models=[{"name": "../../outside/x", "architecture": "a"}]),
    "a suite that is no text": lambda r, _: _edit(_plan(r), lambda plan: plan.update(suite=["x"])),
    "a plan that is nested without end": _record("plans", DEEP),
    "a plan in no encoding": _record("plans", b"\xff\xfe\x00"),
    "a failure of no trial": _record("failures", FAILURE),
    "a failure without a key": _record("failures", {"record": "failures"}),
    "a driver of no time": _record("running", {"record": "running", "time": "noon", "trials": 7}),
    "a driver that is a list": _record("running", [1]),
    "a link for the trials": lambda r, outside: _link(r, outside, "trials"),
    "a link for what is set aside": lambda r, outside: _link(r, outside, "set_aside"),
    "a link for a prefix": lambda r, outside: _link(r, outside, f"trials/{_of(r, 'predict').parent.name}"),
    "a link for a trial": lambda r, outside: _link(r, outside, str(_of(r, "predict").relative_to(r))),
    "a link for a mark": lambda r, outside: (
        (path := _of(r, "predict") / "trial.json").unlink(),
        path.symlink_to(outside / "below" / "precious.txt"),
    )[0],
    "a pipe for a file": lambda r, _: (
        (path := _of(r, "leakage") / "samples.parquet").unlink(),
        os.mkfifo(path),
    )[0],
    "files that lead outside": lambda r, _: _edit(
        _of(r, "predict") / "trial.json",
        lambda mark: mark["files"].update({"../../../outside/x": {"bytes": 1, "sha256": "0" * 64}}),
    ),
    "a provenance that is none": lambda r, _: _edit(
        _of(r, "predict") / "trial.json", lambda mark: mark.update(provenance={"wall_s": "x", "device": 3})
    ),
    "rows of other columns": lambda r, _: _forge(r, "predict", "rows.parquet", _parquet(pa.table({"a": [1]}))),
    "rows of other types": lambda r, _: _forge(
        r, "predict", "rows.parquet", _parquet(pa.table({"metric": [1.5], "value": ["x"]}))
    ),
    "rows that are no Parquet": lambda r, _: _forge(r, "predict", "rows.parquet", b"PAR1 not"),
    "samples of other columns": lambda r, _: _forge(r, "leakage", "samples.parquet", _parquet(pa.table({"a": [1]}))),
    "pictures of other columns": lambda r, _: _forge(r, "leakage", "gallery.parquet", _parquet(pa.table({"a": [1]}))),
    "an index that is none": lambda r, _: (
        (r / "index").mkdir(exist_ok=True),
        (r / "index" / f"{'0' * 16}.parquet").write_bytes(b"PAR1"),
    )[0],
}


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    (folder / "below").mkdir(parents=True)
    (folder / "below" / "precious.txt").write_text("precious")
    return folder


@pytest.mark.parametrize("name", HOSTILE)
def test_looking_at_it_is_safe(tmp_path: Path, tiny_run: command.Run, outside: Path, name: str) -> None:
    results = tmp_path / "results"
    shutil.copytree(tiny_run.results, results)
    HOSTILE[name](results, outside)
    before = command.snapshot(outside)
    for arguments in (
        ("status", "--results", results),
        ("leaderboard", "--results", results, "--site", tmp_path / "site"),
        ("plan", command.TINY, "--results", results),
    ):
        done = call(*arguments)
        assert done.exit_code in (0, 1, 2), (arguments[0], done.output)
        assert done.exception is None or isinstance(done.exception, SystemExit), (arguments[0], repr(done.exception))
        assert "Traceback" not in done.output
    assert command.snapshot(outside) == before
    assert {path.name for path in tmp_path.iterdir()} <= {"results", "outside", "site"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a link for a prefix", "a link for a trial", "keys that lead outside"])
def test_a_run_sets_it_aside(tmp_path: Path, tiny_run: command.Run, outside: Path, name: str) -> None:
    results = tmp_path / "results"
    shutil.copytree(tiny_run.results, results)
    HOSTILE[name](results, outside)
    before = command.snapshot(outside)
    done = call("run", command.TINY, *command.ONE, "--results", results, "--site", tmp_path / "site")
    assert done.exit_code == 0, done.output
    assert command.snapshot(outside) == before
    assert command.measured(results) == command.measured(tiny_run.results)
