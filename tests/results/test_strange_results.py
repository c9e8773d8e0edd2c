"""Numbers, sizes and texts that no run writes: named in a line each, and a page from whatever is sound."""

import json
import os
import shutil
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import command
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import test_hostile_results as hostile
from command import call

from benchmark.live import line
from benchmark.reading.plausible_values import is_failure, is_heartbeat, is_row, odd_provenance, odd_rows
from benchmark.results.store import CorruptArtifact, Store
from benchmark.results.trial_index import Kept
from benchmark.running.heartbeat import drivers, running
from benchmark.running.leases import Leases
from benchmark.stages.shared.samples import SCHEMA, cubes
from benchmark.trials.trial import Outcome, Row, Trial
from leaderboard import contact_sheets, picture_views

STEERING = "\x1b[2J\x1b]8;;http://evil\x1b\\A\x1b]8;;\x1b\\\rB\u202eC[link=http://evil]D[/link][red]E\ud800"
ROW: dict[str, Any] = {
    "stage": "predict", "method": "", "space": "", "metric": "clean_accuracy", "value": 0.5, "low": None, "high": 0.6,
    "n": 10, "note": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("value", float("inf")), ("value", float("nan")), ("low", 1e300), ("high", "0.5"), ("value", True), ("n", -1),
        ("n", 2**70), ("n", 1.5), ("n", False), ("metric", ""), ("metric", None), ("stage", ""), ("stage", "x" * 10**6),
        ("space", None), ("method", "a\udcff"), ("note", "x" * 10**5), ("note", 3),
    ],
)  # fmt: skip
def test_rows_that_no_run_writes(name: str, value: Any) -> None:
    assert odd_rows([ROW]) == "" and is_row({"metric": "in_rate", "value": None})
    told = odd_rows([ROW, {**ROW, name: value}])
    assert name in told and len(told) < 200 and not is_row({**ROW, name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("wall_s", -1.0), ("wall_s", float("inf")), ("gpu_s", 1e200), ("threads", True), ("threads", 2.5), ("gpus", "1"),
     ("host_memory_bytes", 2**70), ("device", 3), ("device", "x" * 10**6), ("created_utc", "\ud800"), ("what", 1)],
)  # fmt: skip
def test_provenance_that_no_run_writes(name: str, value: Any) -> None:
    assert odd_provenance({"wall_s": 1.5, "threads": 2, "device": "cpu", "gpus": None}) == ""
    assert name in odd_provenance({"wall_s": 1.5, name: value})


def test_heartbeats_and_failures_that_no_run_writes() -> None:
    assert is_heartbeat({"time": 1.5e9, "trials": ["a"]})
    for time_, trials in [(float("inf"), []), (10**400, []), (-1, []), (True, []), (1.0, "a"), (1.0, ["a"] * 10**6)]:
        assert not is_heartbeat({"time": time_, "trials": trials})
    assert not is_heartbeat({"time": 1.0, "trials": ["x" * 10**5]}) and not is_heartbeat({"time": 1.0, "trials": [1]})
    assert is_failure({"key": "a" * 64, "traceback": "x"})
    assert not is_failure({"key": "a" * 64, "traceback": "x" * 10**6}) and not is_failure({"key": "a", "traceback": ""})


def _samples(**columns: Any) -> pa.Table:
    full = {
        "class_id": [0, 1],
        "sample": [0, 0],
        "space": ["pixel"] * 2,
        "metric": ["in_rate"] * 2,
        "value": [0.5, 1.0],
    }
    return pa.table({**full, **columns}, schema=SCHEMA)


@pytest.mark.parametrize(
    "columns",
    [
        {"value": [0.5, float("inf")]}, {"value": [0.5, 1e200]}, {"value": [0.5, 2.0]}, {"metric": ["in_rate", None]},
        {"class_id": [0, None]}, {"class_id": [1, 1]},
        {"class_id": range(10**4), "sample": range(10**4), "space": ["p"] * 10**4, "metric": ["m"] * 10**4,
         "value": [1.0] * 10**4},
        {"class_id": [0] * 2000, "sample": [0] * 2000, "space": ["p"] * 2000, "metric": map(str, range(2000)),
         "value": [1.0] * 2000},
    ],
)  # fmt: skip
def test_samples_that_no_run_writes(columns: dict[str, Any]) -> None:
    assert cubes(_samples())["pixel", "in_rate"].tolist() == [[0.5], [1.0]]
    with pytest.raises(ValueError):
        cubes(_samples(**{name: list(values) for name, values in columns.items()}))


def _told(output: str) -> str:
    """The output, if it steers no terminal."""
    assert all(character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cf", "Cs") for character in output)
    return output


@pytest.mark.parametrize("text", [STEERING, "a\nb\r\nc", "\x9b31m\u2028x", "[b]x[/b]"])
def test_a_line_shows_what_it_is_made_of(text: str) -> None:
    plain = line(text).plain
    assert "\n" not in _told(plain) and "[" in plain or text.startswith("a") or text.startswith("\x9b")
    assert line(text).spans == [] and plain.encode()


def _rows(results: Path, stage: str, **changes: Any) -> None:
    table = pq.read_table(hostile._of(results, stage) / "rows.parquet", partitioning=None)
    rows = [{**row, **changes} for row in table.to_pylist()]
    hostile._forge(results, stage, "rows.parquet", hostile._parquet(pa.Table.from_pylist(rows, schema=table.schema)))


def _column(results: Path, stage: str, name: str, column: str, value: Any) -> None:
    table = pq.read_table(hostile._of(results, stage) / name, partitioning=None)
    field = table.schema.field(column)
    filled = table.set_column(table.column_names.index(column), field, pa.array([value] * len(table), field.type))
    hostile._forge(results, stage, name, hostile._parquet(filled))


def _looked_at(results: Path, site: Path) -> tuple[str, list[dict[str, Any]]]:
    """What status, leaderboard and plan say; the leaderboard."""
    told = ""
    for arguments in (("status",), ("leaderboard", "--site", site), ("plan", command.TINY)):
        done = call(*arguments, "--results", results)
        assert done.exit_code in (0, 1) and isinstance(done.exception, SystemExit | None), (arguments, done.output)
        told += done.output
    assert "Traceback" not in told and (site / "index.html").is_file() and (site / "leaderboard.csv").is_file()
    return told, pq.read_table(site / "leaderboard.parquet", partitioning=None).to_pylist()


@pytest.fixture
def results(tmp_path: Path, tiny_run: command.Run) -> Path:
    shutil.copytree(tiny_run.results, tmp_path / "results")
    return tmp_path / "results"


def test_numbers_that_no_run_writes(results: Path, tmp_path: Path, tiny_run: command.Run) -> None:
    bad = {stage: hostile._of(results, stage) for stage in ("predict", "evade", "leakage", "infer_membership", "train")}
    _rows(results, "predict", value=float("inf"))
    _column(results, "leakage", "samples.parquet", "value", float("inf"))
    _column(results, "infer_membership", "scores.parquet", "score", None)
    for stage, value in (("evade", "1" + "0" * 400), ("train", "[1e999]")):
        mark = bad[stage] / "trial.json"
        mark.write_text(mark.read_text().replace('"wall_s": ', f'"wall_s": {value}, "x": ', 1))
    aggregates = next((results / "index").glob("aggregates-*.json"))
    aggregates.write_text(aggregates.read_text().replace('"value": ', '"value": 1e999, "x": '))
    for name, record in {
        "plans/x.json": (results / "plans" / hostile._plan(results).name).read_text(),  # a suite has one plan
        "running/m-1.json": '{"record": "running", "time": 1' + "0" * 400 + ', "trials": ["a"]}',
        f"failures/{'a' * 64}.json": '{"record": "failures", "key": NaN, "traceback": null}',
    }.items():
        (results / name).parent.mkdir(exist_ok=True)
        (results / name).write_text(record)
    told, board = _looked_at(results, tmp_path / "site")
    for name in (*(folder.name for folder in bad.values()), "plans/x.json", "running/m-1.json", f"failures/{'a' * 64}"):
        assert f"{name}" in told, name
    before = pq.read_table(tiny_run.site / "leaderboard.parquet", partitioning=None).to_pylist()
    assert [row["model"] for row in board] == [row["model"] for row in before]
    assert board[1]["clean_accuracy"] == before[1]["clean_accuracy"] and board[1]["in_rate"] == before[1]["in_rate"]


def test_texts_that_steer_a_terminal(results: Path, tmp_path: Path) -> None:
    plan = hostile._plan(results)
    key = hostile._of(results, "predict").name
    shutil.rmtree(hostile._of(results, "predict"))
    (results / "failures").mkdir(exist_ok=True)
    failure = {"record": "failures", "key": key, "traceback": f"x\nError: {STEERING}"}
    (results / "failures" / f"{key}.json").write_text(json.dumps(failure))
    heartbeat = {"record": "running", "time": time.time(), "trials": [STEERING]}
    (results / "running" / "m-1.json").write_text(json.dumps(heartbeat))
    (plan.parent / os.fsdecode(b"\xff\x1b[31m.json")).write_text("x")
    hostile._edit(
        hostile._of(results, "evade") / "trial.json", lambda mark: mark["provenance"].update(device=STEERING[:-1])
    )

    def rename(value: dict[str, Any]) -> None:
        value["nodes"]["model"] = [STEERING if name == "softmax" else name for name in value["nodes"]["model"]]
        next(model for model in value["about"]["models"] if model["name"] == "softmax")["name"] = STEERING

    hostile._edit(plan, rename)
    told, board = _looked_at(results, tmp_path / "site")
    _told(told)
    assert told.count("[link=http://evil]D[/link]") >= 3 and "\\ud800" in board[0]["model"]


def _sparse(path: Path, size: int) -> None:
    path.parent.mkdir(exist_ok=True)
    path.touch()
    os.truncate(path, size)


def _sizes(results: Path) -> None:
    gallery = hostile._of(results, "leakage")
    _sparse(gallery / "gallery.parquet", 2**40)
    hostile._edit(gallery / "trial.json", lambda mark: mark["files"]["gallery.parquet"].update(bytes=2**40))
    _sparse(results / "plans" / f"{'1' * 16}.json", 2**40)
    (results / "plans" / f"{'2' * 16}.json").write_bytes(b"[" + b"{}," * 15_000_000 + b"{}]")
    (results / "failures").mkdir(exist_ok=True)
    failure = {"record": "failures", "key": "b" * 64, "traceback": "x" * 60_000_000}
    (results / "failures" / f"{'b' * 64}.json").write_text(json.dumps(failure))
    heartbeat = {"record": "running", "time": time.time(), "trials": ["a"] * 10**6}
    (results / "running" / "m-1.json").write_text(json.dumps(heartbeat))
    sink = pa.BufferOutputStream()
    many = pa.table({name: np.zeros(5_000_000, bool) for name in ("metric", "value")})
    pq.write_table(many, sink, compression="zstd", row_group_size=5_000_000)
    hostile._forge(results, "predict", "rows.parquet", bytes(sink.getvalue().to_pybytes()))
    long = pa.table({"score": [0.0], "is_member": ["x" * 10**8]})
    pq.write_table(
        long, sink := pa.BufferOutputStream(), compression="zstd", use_dictionary=False, write_statistics=False
    )
    hostile._forge(results, "infer_membership", "scores.parquet", bytes(sink.getvalue().to_pybytes()))


MEASURED = """
import resource, subprocess, sys, time
begin = time.monotonic()
code = subprocess.run(sys.argv[1:]).returncode
print("MEASURED", code, time.monotonic() - begin, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def test_sizes_that_no_run_writes(results: Path, tmp_path: Path) -> None:
    names = [hostile._of(results, stage).name for stage in ("predict", "infer_membership")]
    _sizes(results)
    arguments = [command.BENCH, "leaderboard", "--results", results, "--site", tmp_path / "site"]
    done = subprocess.run([sys.executable, "-c", MEASURED, *arguments], capture_output=True, text=True, timeout=120)
    code, seconds, kilobytes = done.stdout.partition("MEASURED ")[2].split()
    assert code == "1" and (tmp_path / "site" / "index.html").is_file(), done.stdout + done.stderr
    assert int(kilobytes) < 2 * 2**20 and float(seconds) < 60  # 2 s on a machine of its own
    for name in (*names, "1" * 16, "2" * 16, "b" * 64, "running/m-1.json", "pictures of 1 trials"):
        assert name in done.stdout, (name, done.stdout)


def _stored(where: str | Path) -> tuple[Store, Trial]:
    store, trial = Store(where), Trial({"method": "toy"}, 0)
    store.write(trial, Outcome([Row(metric="m", value=1.0)]), {"wall_s": 1.0, "threads": 1})
    return store, trial


def _in_a_folder(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("tmp_path") / "results")


def _in_a_bucket(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("s3_url"))


@pytest.mark.slow
@pytest.mark.parametrize("place", [_in_a_folder, _in_a_bucket])
def test_folders_and_buckets_alike(
    place: Callable[[pytest.FixtureRequest], str], request: pytest.FixtureRequest
) -> None:
    store, trial = _stored(place(request))
    assert isinstance(store.finished([trial.key])[trial.key], Kept)
    mark = store.storage.read(f"trials/{trial.key[:2]}/{trial.key}/trial.json").decode()
    broken = mark.replace('"wall_s": 1.0', '"wall_s": 1' + "0" * 400)
    store.storage.write(f"trials/{trial.key[:2]}/{trial.key}/trial.json", broken.encode())
    told: list[CorruptArtifact] = []
    assert store.finished([trial.key], told.append) == {} and [one.key for one in told] == [trial.key]
    for name, text in {
        "running/m-1.json": '{"record": "running", "time": 1e999, "trials": ["a"]}',
        "running/m-2.json": json.dumps({"record": "running", "time": time.time() + 1e9, "trials": ["a"]}),
        "running/m-3.json": json.dumps({"record": "running", "time": time.time(), "trials": ["a\ud800"]}),
        f"failures/{'a' * 64}.json": json.dumps({"record": "failures", "key": "a" * 64, "traceback": "x" * 10**6}),
    }.items():
        store.storage.write(name, text.encode())
    assert list(drivers(store.storage)) == ["m-3"] and running(store.storage) == ["a\\ud800"]
    assert store.failures() == {} and store.unsound_records() == [f"failures/{'a' * 64}.json", "running/m-1.json"]
    store.storage.write(f"leases/{trial.key}.json", b"[" * 10**5)
    assert Leases(store.storage, "me").take(trial.key)


def _png(width: int, height: int) -> bytes:
    return (
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
        + width.to_bytes(4, "big")
        + height.to_bytes(4, "big")
        + b"\x08"
        + b"\0" * 8
    )


@pytest.mark.parametrize(
    "content",
    [_png(60_000, 60_000), _png(1, 2**31), _png(0, 5), _png(28, 28)[:12], _png(28, 28) + b"\0" * 9_000_000, b""],
)
def test_pictures_that_no_data_set_has_are_not_shown(content: bytes) -> None:
    assert picture_views.png(_png(224, 224)) and picture_views.png(content) is None


def test_a_sheet_has_bounds() -> None:
    sheet = contact_sheets.Sheet([contact_sheets.Line(("a",), [contact_sheets.Cell(None)] * 40)] * 40)
    with pytest.raises(ValueError, match=r"allowed: fewer classes or models .*--scale"):
        contact_sheets.draw(sheet, 64)
