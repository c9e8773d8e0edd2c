"""`bench verify` finds every damage, wherever and of whatever size, and says where."""

import hashlib
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import command
import pytest
import torch
from board import PROVENANCE, Board, share
from command import Run, call, snapshot
from looking import damaged_names, look

from benchmark.planning.plan import Node
from benchmark.results import verification
from benchmark.results.compaction import compact
from benchmark.results.store import Store
from benchmark.results.verify_side_files import KINDS
from benchmark.storage import MARK
from benchmark.trials.training_progress import Progress
from benchmark.trials.trial import Outcome

KEYS = [digit * 64 for digit in "abc"]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause before the second look: nobody else is writing."""
    monkeypatch.setattr(verification, "_AGAIN_S", 0.0)


def flip(content: bytearray, rng: random.Random) -> None:
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)


def swap(content: bytearray, rng: random.Random) -> None:
    """Two bytes that differ change places."""
    at = rng.choice([i for i in range(len(content) - 1) if content[i] != content[i + 1]])
    content[at], content[at + 1] = content[at + 1], content[at]


def wipe(content: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(content))
    size = len(content[at : at + 64])
    content[at : at + size] = (b"\xff" if not any(content[at : at + size]) else b"\0") * size


DAMAGES = (flip, swap, wipe)


def every_kind(store: Store) -> None:
    """Add what a run of the tiny suite does not leave: failures, progress, sent files, an index, signatures."""
    for i, key in enumerate(KEYS):
        trial = Board(store.root, []).add("train", "lost", i, None)
        store.write_failure(Node(trial.trial, key, "train", "", "lost", i, 1.0), f"a traceback {i}", 1)
        state = {"weight": torch.arange(40.0), "step": torch.tensor(i)}
        Progress(store, key, f"torch 2.{i}, cpu, 1 threads", 0.0).save(state)
    compact(store)
    content = bytes(range(256)) * 3
    path = Path(store.root) / "sent.bin"
    path.write_bytes(content)
    store.put_blob(hashlib.sha256(content).hexdigest(), path)
    path.unlink()
    content = b"sixteen bytes on" * 3
    store.storage.write(f"index/{hashlib.sha256(content).hexdigest()[:16]}.seen", content)


@pytest.fixture(scope="module")
def copy(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A copy of a run's results with a file of every kind. Tests put back what they damage."""
    store = Store(shutil.copytree(tiny_run.results, tmp_path_factory.mktemp("verify") / "results"))
    every_kind(store)
    return store


def files_of(store: Store) -> list[str]:
    return sorted(str(path.relative_to(store.root)) for path in Path(store.root).rglob("*") if path.is_file())


def test_a_whole_folder_is_whole_and_stays_as_it_is(copy: Store) -> None:
    before = snapshot(Path(copy.root))
    found = look(copy)
    assert not found.damages and found.num_older == 0 and found.num_trials == 87
    assert found.num_files == len(before) == len(files_of(copy))
    assert found.num_bytes == sum((Path(copy.root) / name).stat().st_size for name in before)
    assert found.num_rederived >= 4 + 8 + 16  # memberships, evasions, leakages
    assert snapshot(Path(copy.root)) == before
    assert {name.split("/")[0] for name in before} == {"trials", *KINDS}


def test_every_file_damaged_at_equal_size_is_found_by_name(copy: Store) -> None:
    """All files but the marks at once, then all marks, each in its own place and way: more than 300 damages."""
    rng, names = random.Random(0), files_of(copy)
    for part in ([name for name in names if not name.endswith(MARK)], [n for n in names if n.endswith(MARK)]):
        old = {name: (Path(copy.root) / name).read_bytes() for name in part}
        try:
            for name, content in old.items():
                new = bytearray(content)
                rng.choice(DAMAGES)(new, rng)
                assert len(new) == len(content) and new != content
                (Path(copy.root) / name).write_bytes(new)
            assert damaged_names(copy) == set(part)
        finally:
            for name, content in old.items():
                (Path(copy.root) / name).write_bytes(content)
    assert not damaged_names(copy)


@pytest.mark.parametrize("kind", ["mark", "failures", "progress", "plans", "index"])
def test_a_bit_flipped_at_any_place_of_a_record_is_found(copy: Store, kind: str) -> None:
    store, rng = copy, random.Random(0)
    if kind == "mark":
        name = next(name for name in files_of(store) if name.endswith(MARK))
    else:
        name = next(name for name in files_of(store) if name.startswith(f"{kind}/") and "aggregates" not in name)
    path = Path(store.root) / name
    content = path.read_bytes()
    places = range(0, len(content), 1 + len(content) // 400)

    def reasons() -> list[str]:
        if kind == "mark":
            return [damage.reason for damage in verification._trial(store, path.parent.name).damages]
        leaf = store.storage.tree(kind, 1)[path.name]
        return [damage.reason for damage in verification._file(store.storage, kind, kind, (path.name, leaf)).damages]

    assert not reasons()
    try:
        for at in places:
            new = bytearray(content)
            new[at] ^= 1 << rng.randrange(8)
            path.write_bytes(new)
            assert reasons() and "\n" not in reasons()[0], at
    finally:
        path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" ")


def link(path: Path) -> None:
    path.rename(path.with_name(".moved"))
    path.symlink_to(path.with_name(".moved"))


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("name", [MARK, "rows.parquet"])
@pytest.mark.parametrize("damage", [truncate, append, Path.unlink, link, folder])
def test_a_file_that_is_no_longer_what_it_was_is_named(board: Board, name: str, damage: Callable[[Path], None]) -> None:
    key = board.nodes[0].key
    damage(board.store.folder(key) / name)
    assert damaged_names(board.store) == {f"trials/{key[:2]}/{key}/{name}"}


def test_what_no_run_leaves_there_is_named(board: Board) -> None:
    root, key = Path(board.store.root), board.nodes[0].key
    strangers = [
        f"trials/{key[:2]}/{key}/mine.txt", "trials/mine.txt", "trials/zz", f"trials/{key[:2]}/mine", "index/mine.txt",
        "files/mine.txt", "files/ab/mine", "plans/mine.json", "failures/mine.json", f"progress/{key}.safetensors",
    ]  # fmt: skip
    for name in strangers:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"mine")
    assert damaged_names(board.store) == set(strangers)
    done = call("verify", "--results", root, "--set-aside")
    assert done.exit_code == 1 and "10 damaged" in done.stdout
    assert not damaged_names(board.store) and board.store.has(key)


def test_numbers_that_do_not_follow_from_raw_output_are_named(copy: Store) -> None:
    """Forged in the rows, with hashes that are right."""
    (plan,) = copy.plans()
    metrics = {
        "evade": "robust_accuracy", "predict": "member_accuracy", "infer_membership": "membership_auc",
        "leakage": "exposure_gini",
    }  # fmt: skip
    for stage, metric in metrics.items():
        key = next(node["key"] for node in plan["nodes"] if node["stage"] == stage)
        kept = {path: path.read_bytes() for path in copy.folder(key).iterdir()}
        trial, rows = copy.trial(key), copy.rows(key).to_pylist()
        tables = {path.stem: copy.table(key, path.stem) for path in kept if path.suffix == ".parquet"}
        columns = ("method", "space", "metric", "value", "low", "high", "n", "note")
        forged = [{name: row[name] for name in columns} for row in rows]
        for row in forged:
            if row["metric"] == metric:
                row["value"] += 0.01
        del tables["rows"]
        copy.write(trial, Outcome(forged, copy.tensors(key), tables), copy.provenance(key))  # type: ignore[arg-type]
        (damage,) = verification._trial(copy, key).damages
        assert damage.name == f"trials/{key[:2]}/{key}/rows.parquet" and metric in damage.reason
        for path, content in kept.items():
            path.write_bytes(content)
        assert not verification._trial(copy, key).damages


def test_the_command_names_what_is_damaged_and_moves_it_only_when_told(board: Board, tmp_path: Path) -> None:
    root, (first, second) = Path(board.store.root), [node.key for node in board.nodes[:2]]
    done = call("verify", "--results", root)
    assert done.exit_code == 0 and "8 trials, 17 files, " in done.stdout and ": all whole" in done.stdout
    for key in (first, second):
        flip_in(board.store.folder(key) / "rows.parquet")
    before = snapshot(root)
    done = call("verify", "--results", root)
    assert done.exit_code == 1 and snapshot(root) == before
    lines = done.stdout.splitlines()
    for line, key in zip(lines[:2], sorted((first, second)), strict=True):
        assert line.startswith(f"damaged trials/{key[:2]}/{key}/rows.parquet: its sha256 is not the one that was writ")
        assert line.endswith("--set-aside moves it away: `bench run` computes it again")
    assert lines[2].startswith("8 trials, 17 files, ") and lines[2].endswith(": 2 damaged")
    done = call("verify", "--results", root, "--set-aside")
    assert done.exit_code == 1 and done.stdout.count("set aside in set_aside/") == 2
    assert board.store.scan()[0] == {node.key for node in board.nodes} - {first, second}
    assert len(list((root / "set_aside").iterdir())) == 2
    done = call("verify", "--results", root)
    assert done.exit_code == 0 and "6 trials, 13 files, " in done.stdout
    assert "there is nothing in" in command.refusal(call("verify", "--results", tmp_path / "nothing"))


def flip_in(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def test_a_file_that_may_not_be_read_is_no_damage(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(name: str) -> str:
        raise PermissionError(13, "Permission denied", name)

    monkeypatch.setattr("benchmark.storage.folder.Folder.digest", lambda self, name: refused(name))
    assert "Permission denied" in command.refusal(call("verify", "--results", board.store.root, "--set-aside"))
    monkeypatch.setattr("benchmark.storage.folder.Folder.digest", lambda self, name: bad_block())
    assert len(damaged_names(board.store)) == len(board.nodes)


def bad_block() -> str:
    raise OSError(5, "Input/output error")


def test_a_trial_that_is_put_in_place_meanwhile_is_looked_at_again(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = board.nodes[0]
    flip_in(board.store.folder(node.key) / "rows.parquet")

    def written_meanwhile(_: float) -> None:
        board.store.write(node.trial, Outcome([share("clean_accuracy", 30, 100)]), PROVENANCE)

    monkeypatch.setattr(time, "sleep", written_meanwhile)
    assert not damaged_names(board.store)


@pytest.mark.slow
def test_in_a_bucket_it_is_the_same(s3_url: str) -> None:
    board = Board(s3_url, ["one", "two"])
    for model in ("one", "two"):
        board.predicted(model, [80, 60], [100, 90])
    store = board.finish()
    assert not look(store).damages and look(store).num_trials == 8
    (first, second), damaged = [node.key for node in board.nodes[:2]], set()
    for key, which in ((first, MARK), (second, ".rows.parquet")):
        (name,) = [name for name in store.storage.tree(f"trials/{key[:2]}/{key}", 1) if name.endswith(which)]
        damaged.add(f"trials/{key[:2]}/{key}/{name}")
        content = bytearray(store.storage.read(f"trials/{key[:2]}/{key}/{name}"))
        content[len(content) // 2] ^= 4
        store.storage.write(f"trials/{key[:2]}/{key}/{name}", bytes(content))
    assert damaged_names(store) == damaged
    done = call("verify", "--results", s3_url, "--set-aside")
    assert done.exit_code == 1 and done.stdout.count("set aside in") == 2
    assert not damaged_names(store) and store.scan()[0] == {node.key for node in board.nodes} - {first, second}
