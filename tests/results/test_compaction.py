"""`bench compact`: one file stands for many trials, and for none that is no longer what it was."""

import os
import shutil
from pathlib import Path

import command
import pytest
from board import PROVENANCE, Board, share
from command import Run, snapshot
from looking import DAMAGES, damaged, reads
from rich.console import Console

from benchmark.aggregation.page_tables import summarise
from benchmark.cli.compact import gather_if_many
from benchmark.planning.plan import Node
from benchmark.results import compaction
from benchmark.results.compaction import compact, num_loose
from benchmark.results.store import Store
from benchmark.results.trial_index import Index
from benchmark.trials.trial import Outcome
from leaderboard.build import build


def index_files(store: Store) -> list[Path]:
    return sorted(Path(store.root).glob("index/*.parquet"))


def keys(board: Board) -> set[str]:
    return {node.key for node in board.nodes}


def predicted(board: Board) -> Node:
    return next(node for node in board.nodes if node.stage == "predict")


def accuracy(store: Store, key: str) -> float:
    return next(row["value"] for row in store.finished([key])[key].rows if row["metric"] == "clean_accuracy")


def test_what_is_in_the_index_is_what_the_trials_say(board: Board) -> None:
    loose, scanned = board.store.finished(keys(board)), board.store.scan()
    assert loose.keys() == scanned[0] == keys(board) and len(loose) == 8
    assert num_loose(board.store) == 8
    found = compact(board.store)
    assert (found.num_trials, found.num_new) == (8, 8) and num_loose(board.store) == 0
    assert board.store.finished(keys(board)) == loose and board.store.scan() == scanned
    assert board.store.finished([]) == {} and board.store.finished(["0" * 64]) == {}


def test_a_resume_of_indexed_trials_opens_no_file_of_theirs(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    compact(board.store)
    names = reads(board.store, monkeypatch)
    assert board.store.scan()[0] == keys(board) and len(board.store.finished(keys(board))) == 8
    assert names and not [name for name in names if name.startswith("trials/")]


def test_a_second_time_there_is_nothing_to_do_and_new_trials_join(board: Board) -> None:
    compact(board.store)
    (first,) = index_files(board.store)
    assert compact(board.store).num_new == 0 and index_files(board.store) == [first]
    board.add("predict", "two", 7, [share("clean_accuracy", 1, 2)])
    assert num_loose(board.store) == 1
    found = compact(board.store)
    assert (found.num_trials, found.num_new) == (9, 1)
    (second,) = index_files(board.store)
    assert second != first and board.store.finished(keys(board)).keys() == keys(board)


def test_two_indexes_side_by_side_are_read_both_and_become_one(board: Board) -> None:
    compact(board.store)
    (first,) = index_files(board.store)
    kept = first.read_bytes()
    board.add("predict", "two", 7, [share("clean_accuracy", 1, 2)])
    first.unlink()
    board.store.set_aside(board.nodes[0].key, "a test")
    compact(board.store)
    first.write_bytes(kept)
    assert board.store.finished(keys(board)).keys() == keys(board) - {board.nodes[0].key} == board.store.scan()[0]
    assert compact(board.store).num_trials == 8
    assert len(index_files(board.store)) == 1 and first not in index_files(board.store)


def test_a_trial_that_was_computed_anew_is_not_served_from_the_index(board: Board) -> None:
    node = predicted(board)
    compact(board.store)
    assert accuracy(board.store, node.key) == 0.8
    board.store.write(node.trial, Outcome([share("clean_accuracy", 30, 100)]), PROVENANCE)
    assert accuracy(board.store, node.key) == 0.3
    assert compact(board.store).num_new == 1 and accuracy(board.store, node.key) == 0.3


def test_a_trial_that_was_set_aside_is_gone(board: Board) -> None:
    node = predicted(board)
    compact(board.store)
    board.store.set_aside(node.key, "a test")
    assert board.store.scan()[0] == keys(board) - {node.key} == board.store.finished(keys(board)).keys()


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_of_an_indexed_trial_is_found(board: Board, damage: str) -> None:
    node = predicted(board)
    compact(board.store)
    damaged(board.store, node.key, damage)
    done, (problem,) = board.store.scan()
    assert problem.name.startswith(f"trials/{node.key[:2]}/{node.key}")
    assert (node.key in done) == (damage == "foreign")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"nothing", None])
def test_a_damaged_index_is_a_problem_in_one_line_and_nothing_else(board: Board, content: bytes | None) -> None:
    scanned, loose = board.store.scan(), board.store.finished(keys(board))
    compact(board.store)
    (path,) = index_files(board.store)
    if content is None:  # of another kind: a trial's rows
        content = next(Path(board.store.root).glob("trials/*/*/rows.parquet")).read_bytes()
    path.write_bytes(content)
    done, (problem,) = board.store.scan()
    assert done == scanned[0] and board.store.finished(keys(board)) == loose
    assert problem.name == f"index/{path.name}" and "\n" not in problem.reason and not problem.key
    board.store.set_aside(problem.name, problem.reason)
    assert board.store.scan() == scanned and compact(board.store).num_new == 8


def test_the_index_may_be_deleted_at_any_time(board: Board) -> None:
    loose = board.store.finished(keys(board))
    compact(board.store)
    shutil.rmtree(Path(board.store.root) / "index")
    assert board.store.finished(keys(board)) == loose and not Index(board.store.storage).names


def test_a_copy_of_the_folder_with_other_times_is_read_from_its_trials(board: Board, tmp_path: Path) -> None:
    compact(board.store)
    copy = Path(shutil.copytree(board.store.root, tmp_path / "copy"))
    for path in copy.rglob("*.*"):
        os.utime(path, (1, 1))
    assert num_loose(Store(copy)) == 8 and Store(copy).finished(keys(board)) == board.store.finished(keys(board))


def test_the_page_is_the_same_to_the_byte_with_an_index_and_without(tmp_path: Path, tiny_run: Run) -> None:
    results, sites = tmp_path / "results", [tmp_path / "loose", tmp_path / "compact"]
    shutil.copytree(tiny_run.results, results)
    shutil.rmtree(results / "index", ignore_errors=True)
    for site in sites:
        summarise(Store(results), site)
        build(site)
        compact(Store(results))
    assert num_loose(Store(results)) == 0
    assert snapshot(sites[0]) == snapshot(sites[1])


def test_the_command_says_what_it_did(board: Board, tmp_path: Path) -> None:
    done = command.call("compact", "--results", board.store.root)
    assert done.exit_code == 0 and done.stdout.startswith("8 trials in the index, 8 of them new; ")
    assert command.call("compact", "--results", board.store.root).stdout.startswith("8 trials in the index, 0 of")
    assert "no suite was run in" in command.refusal(command.call("compact", "--results", tmp_path / "nothing"))


@pytest.mark.slow
def test_in_a_bucket_it_is_the_same(s3_url: str) -> None:
    board = Board(s3_url, ["one", "two"])
    for model in ("one", "two"):
        board.predicted(model, [80, 60], [100, 90])
    store, node = board.finish(), predicted(board)
    loose, scanned = store.finished(keys(board)), store.scan()
    assert (compact(store).num_trials, num_loose(store)) == (8, 0)
    assert store.finished(keys(board)) == loose and store.scan() == scanned
    store.write(node.trial, Outcome([share("clean_accuracy", 30, 100)]), PROVENANCE)
    assert num_loose(store) == 1 and accuracy(store, node.key) == 0.3
    store.set_aside(node.key, "a test")
    assert store.scan() == (keys(board) - {node.key}, [])
    assert compact(store).num_trials == 7 and len(store.storage.tree("index", 1)) == 1
    (name,) = store.storage.tree("index", 1)
    store.storage.write(f"index/{name}", b"nothing")
    done, (problem,) = store.scan()
    assert done == keys(board) - {node.key} and problem.name == f"index/{name}"


def test_a_run_with_many_loose_trials_compacts_by_itself(
    board: Board, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    console = Console(width=100)
    gather_if_many(console, board.store)
    assert not index_files(board.store)
    monkeypatch.setattr(compaction, "MANY", 7)
    gather_if_many(console, board.store)
    assert len(index_files(board.store)) == 1 and num_loose(board.store) == 0
    monkeypatch.setattr(compaction, "MANY", -1)

    def full(name: str, content: bytes) -> None:
        raise OSError(28, "the disk is full")

    monkeypatch.setattr(board.store.storage, "write", full)
    index_files(board.store)[0].unlink()
    gather_if_many(console, board.store)
    assert "problem index: " in capsys.readouterr().out
