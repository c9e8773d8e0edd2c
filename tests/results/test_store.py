"""The store: what is read is what was written, or it is reported; a kill leaves nothing half."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from store_writers import MADE, ROW, TABLE, killed_at, trial, write_often
from toy import HOSTILE_NODE as NODE
from toy import HOSTILE_PLAN as PLAN

from benchmark import schema
from benchmark.machine.durable_files import StoreFull
from benchmark.results.finished_trials import Problem
from benchmark.results.store import CorruptArtifact, Store
from benchmark.storage import Storage
from benchmark.trials.trial import Outcome, Row


def outcome() -> Outcome:
    batch = torch.arange(48.0).reshape(2, 2, 3, 4)
    tensors = {
        "first": batch[0],  # two views of one memory
        "second": batch[1],
        "last": batch.to(memory_format=torch.channels_last),
        "ids": torch.tensor([3, 1], dtype=torch.int64),
    }
    return Outcome(
        rows=[ROW, {"metric": "masked", "value": None, "note": "too few"}], tensors=tensors, tables={"scores": TABLE}
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


@pytest.fixture
def key(store: Store) -> str:
    store.write(trial(), outcome(), MADE)
    return trial().key


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small disk here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_what_is_read_is_what_was_written(store: Store, key: str) -> None:
    assert store.has(key) and store.keys() == [key] and store.check() == [] and not store.verify(key)
    assert store.trial(key) == trial()
    assert store.provenance(key) == MADE
    assert store.table(key, "scores").equals(TABLE)
    read, written = store.tensors(key), outcome().tensors
    assert read.keys() == written.keys()
    assert all(torch.equal(read[name], written[name]) and read[name].dtype == written[name].dtype for name in read)
    rows = store.rows(key)
    assert rows.schema.equals(schema.ROWS)
    empty = {"low": None, "high": None, "n": None, "note": None}
    made = {**MADE, "trial_key": key, "schema_version": schema.SCHEMA_VERSION, "stage": "evade", "space": ""}
    assert rows.to_pylist() == [
        {**empty, **made, **ROW},
        {**empty, **made, "method": "", "metric": "masked", "value": None, "note": "too few"},
    ]


def test_rows_of_version_1_are_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It knew nothing of shares of GPUs and of memory."""
    new = ["gpus", "gpu_utilisation", "gpu_memory_bytes", "host_memory_bytes"]
    old = pa.schema([field for field in schema.ROWS if field.name not in new])
    monkeypatch.setattr("benchmark.results.write_trial_files.ROWS", old)
    store.write(trial(), outcome(), {name: value for name, value in MADE.items() if name not in new})
    rows = store.rows(trial().key)
    assert rows.schema.equals(schema.ROWS) and rows["value"].to_pylist() == [0.5, None]
    assert all(rows[name].null_count == 2 for name in new)


def test_a_trial_without_artifacts(store: Store) -> None:
    store.write(trial(), Outcome(), MADE)
    assert store.has(trial().key)
    assert store.tensors(trial().key) == {}
    assert store.rows(trial().key).num_rows == 0
    with pytest.raises(ValueError, match="'scores' was not written by trial"):
        store.table(trial().key, "scores")


@pytest.mark.parametrize("field", ["value", "low", "high"])
@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_not_finite_is_no_result(store: Store, field: str, number: float) -> None:
    row: Row = {**ROW, field: number}  # type: ignore[misc]
    with pytest.raises(ValueError, match=f"'robust_accuracy'.*has {field}={number}"):
        store.write(trial(), Outcome(rows=[row]), MADE)
    assert not store.has(trial().key) and store.keys() == []


@pytest.mark.parametrize("row", [{"value": 1.0}, {"metric": "a", "valeu": 1.0}])
def test_a_row_with_unknown_or_missing_columns_is_refused(store: Store, row: Row) -> None:
    with pytest.raises(ValueError, match="unknown keys"):
        store.write(trial(), Outcome(rows=[row]), MADE)


@pytest.mark.parametrize("name", ["rows", "../x", "A"])
def test_a_table_name_that_could_hide_a_file_is_refused(store: Store, name: str) -> None:
    with pytest.raises(ValueError, match="table"):
        store.write(trial(), Outcome(tables={name: TABLE}), MADE)


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _another_seed(path: Path) -> None:
    mark = json.loads(path.read_text())
    mark.pop("checksum")
    mark["trial"]["seed"] += 1
    path.write_text(json.dumps(mark))


DAMAGE: list[tuple[str, Callable[[Path], None]]] = [
    ("rows.parquet", _truncate),
    ("rows.parquet", _flip),
    ("rows.parquet", Path.unlink),
    ("scores.parquet", _truncate),
    ("tensors.safetensors", _truncate),
    ("tensors.safetensors", Path.unlink),
    ("trial.json", _truncate),
    ("trial.json", Path.unlink),
    ("trial.json", lambda path: path.write_text("[]") and None),
    ("trial.json", lambda path: path.write_text('{"key": 1, "files": 2, "trial": 3}') and None),
    ("trial.json", _another_seed),
]


@pytest.mark.parametrize(("name", "damage"), DAMAGE)
def test_a_damaged_trial_is_found_and_set_aside(
    store: Store, key: str, name: str, damage: Callable[[Path], None]
) -> None:
    store.write(trial(1), outcome(), MADE)
    damage(store.folder(key) / name)
    assert not store.has(key) and store.has(trial(1).key)
    (problem,) = store.check()
    assert problem == Problem(f"trials/{key[:2]}/{key}", problem.reason, key)
    assert problem.reason.startswith(name)
    left = sorted(path.name for path in store.folder(key).iterdir())

    place = store.root / store.set_aside(problem.name, problem.reason)
    assert store.check() == [] and store.keys() == [trial(1).key]
    assert sorted(path.name for path in (place / key).iterdir()) == left  # nothing is deleted
    assert problem.reason in (place / "reason.txt").read_text()
    store.write(trial(), outcome(), MADE)
    assert store.has(key)


@pytest.mark.parametrize("name", ["tensors.safetensors", "scores.parquet", "rows.parquet"])
def test_a_flipped_bit_is_never_read(store: Store, key: str, name: str) -> None:
    _flip(store.folder(key) / name)
    read = {
        "tensors.safetensors": store.tensors,
        "scores.parquet": lambda k: store.table(k, "scores"),
        "rows.parquet": store.rows,
    }
    with pytest.raises(CorruptArtifact) as caught:
        read[name](key)
    assert (caught.value.key, caught.value.file) == (key, name)
    assert store.verify(key).startswith(name)


def test_a_trial_that_is_replaced_while_it_is_read_is_read_again(
    store: Store, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the hash of a file and its opening another process may put the same trial in place."""
    verified, opened = type(store.storage).verified, list[str]()

    def gone_once(storage: Storage, name: str, sha256: str, most: int) -> Path | bytes | None:
        opened.append(name)
        return store.folder(key) / "replaced" if len(opened) == 1 else verified(storage, name, sha256, most)

    monkeypatch.setattr(type(store.storage), "verified", gone_once)
    assert store.table(key, "scores").equals(TABLE)
    assert len(opened) == 2


def test_a_trial_that_is_not_there_cannot_be_read(store: Store) -> None:
    for read in (store.trial, store.rows, store.tensors, store.provenance):
        with pytest.raises(CorruptArtifact, match=r"trial\.json"):
            read("0" * 64)
    assert not store.has("0" * 64)


@pytest.mark.parametrize(
    "place", ["notes.txt", "zz/x", "{ab}/notes.txt", "{ab}/short/x", "00/{key}/x", "{ab}/{key}/notes.txt"]
)
def test_foreign_files_are_reported_and_harm_no_trial(store: Store, key: str, place: str) -> None:
    path = store.root / "trials" / place.format(ab=key[:2], key=key)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("not ours")
    (problem,) = store.check()
    assert store.root / problem.name in (path, *path.parents)
    store.set_aside(problem.name, problem.reason)
    assert store.check() == [] and store.has(key)
    assert [p.read_text() for p in (store.root / "set_aside").rglob(path.name)] == ["not ours"]


def test_only_old_leftovers_of_killed_runs_are_cleared(store: Store, key: str) -> None:
    old, young = (store.folder(key).with_name(f".{key}.{name}.tmp") for name in ("old", "young"))
    for folder in (old, young):
        folder.mkdir()
        (folder / "rows.parquet").write_bytes(b"half")
    os.utime(old, (0, 0))
    assert store.check() == []
    store.clear_stale()
    assert not old.exists() and young.exists() and store.has(key)


@pytest.mark.slow
@pytest.mark.parametrize("step", [0, 1, 2])
def test_killed_while_writing_leaves_no_result(store: Store, step: int) -> None:
    process = multiprocessing.get_context("spawn").Process(target=killed_at, args=(str(store.root), step))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert len(list(store.root.rglob("*.parquet"))) == min(step + 1, 2)  # it did begin
    assert not store.has(trial().key) and store.keys() == [] and store.check() == []
    store.write(trial(), outcome(), MADE)
    assert store.has(trial().key)


@pytest.mark.slow
def test_two_processes_may_write_one_trial(store: Store) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_often, args=(str(store.root), who)) for who in (0, 1)]
    for writer in writers:
        writer.start()
    reads = 0
    while any(writer.is_alive() for writer in writers):
        if store.keys():
            rows = store.rows(trial().key)
            assert rows.num_rows == int(rows["wall_s"][0].as_py()) + 1  # all from one writer
            assert store.table(trial().key, "scores").equals(TABLE)
            reads += 1
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert reads and store.has(trial().key) and store.check() == []
    assert os.listdir(store.folder(trial().key).parent) == [trial().key]  # noqa: PTH208 - with hidden names


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_file_in_place_of_the_results_folder(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=f"results: '.*{place}' cannot be written .*; allowed: "):
        Store(tmp_path / place).writable()


def test_a_results_folder_is_made_and_left_clean(store: Store) -> None:
    store.writable()
    assert [path.name for path in store.root.iterdir()] == ["trials"]


def test_a_read_only_results_folder(tiny_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", tiny_disk], check=True)
    with pytest.raises(ValueError, match="cannot be written .Read-only file system"):
        Store(tiny_disk / "results").writable()


def test_a_full_disk_keeps_what_is_there(tiny_disk: Path) -> None:
    store = Store(tiny_disk / "results")
    store.writable()
    store.write(trial(), outcome(), MADE)
    with pytest.raises(StoreFull, match=f"the disk of '{store.root}' is full"):
        store.write(trial(1), Outcome(tensors={"x": torch.zeros(10**6)}), MADE)
    assert store.keys() == [trial().key] and store.has(trial().key) and store.check() == []
    store.write(trial(2), outcome(), MADE)  # the failed attempt gave its room back
    with pytest.raises(OSError, match="No space"), (tiny_disk / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(b"x" * 4096)
    for attempt in (store.writable, lambda: store.write_failure(NODE, "trace", 1), lambda: store.write_plan(PLAN, {})):
        with pytest.raises(StoreFull):
            attempt()
    assert store.has(trial().key) and store.failures() == {} and list(store.plans()) == [] and store.check() == []


def test_the_results_folder_may_move(store: Store, key: str, tmp_path: Path) -> None:
    shutil.move(store.root, tmp_path / "elsewhere")
    assert Store(tmp_path / "elsewhere").has(key) and not store.has(key)
