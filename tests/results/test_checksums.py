"""What is kept beside raw output carries a checksum of itself, and damage of it is never shown."""

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest
from board import Board
from looking import damaged_names, look

from benchmark.aggregation.page_tables import _suite, summarise
from benchmark.aggregation.suite_results import SuiteResults
from benchmark.results import verification
from benchmark.results.compaction import compact
from benchmark.schema import LEADERBOARD
from benchmark.storage import MARK
from benchmark.storage.checksum import is_sealed, seal
from leaderboard.parquet_rows import read


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause before the second look: nobody else is writing."""
    monkeypatch.setattr(verification, "_AGAIN_S", 0.0)


def test_a_sealed_text_is_sealed_to_the_last_bit() -> None:
    content = seal(json.dumps({"a": 1.5, "text": "é \u2028"}, indent=1).encode())
    assert json.loads(content)["a"] == 1.5 and is_sealed(content) and not is_sealed(b"{}") and not is_sealed(b"")
    for at in range(8 * len(content)):
        new = bytearray(content)
        new[at // 8] ^= 1 << at % 8
        assert not is_sealed(bytes(new))


def test_a_page_is_never_made_of_a_damaged_derived_file(board: Board, tmp_path: Path) -> None:
    def page() -> list[Any]:
        return [_suite(SuiteResults(board.store, plan), keep=True) for plan in board.store.plans()]

    compact(board.store)
    summarise(board.store, tmp_path / "site", images=False)
    whole, rng = page(), random.Random(0)
    derived = [path for path in (Path(board.store.root) / "index").iterdir()]
    assert {path.suffix for path in derived} == {".parquet", ".json"}
    for path in derived:
        content = path.read_bytes()
        digits = [i for i, byte in enumerate(content) if path.suffix == ".json" and 48 <= byte <= 57]
        for at in rng.sample(digits, min(12, len(digits))) + rng.sample(range(len(content)), 8):
            new = bytearray(content)
            new[at] ^= 1  # one digit becomes another, what was JSON stays JSON
            path.write_bytes(new)
            assert page() == whole, (path.name, at)
            if path.suffix == ".json":
                assert path.read_bytes() == content, "it is made anew"
        path.write_bytes(content)


def older(board: Board, key: str) -> Path:
    """The mark of a trial as versions without checksums wrote it."""
    path = board.store.folder(key) / MARK
    mark = json.loads(path.read_text())
    del mark["checksum"]
    path.write_text(json.dumps(mark, indent=1))
    return path


def test_marks_of_older_versions_count_and_are_compared_with_their_rows(board: Board) -> None:
    key = board.nodes[0].key
    path = older(board, key)
    found = look(board.store)
    assert board.store.has(key) and not found.damages and found.num_older == 1
    content, name = path.read_bytes(), f"trials/{key[:2]}/{key}/{MARK}"
    for value, other in (("c0ffee", "c0ffed"), ('wall_s": 2.0', 'wall_s": 3.0'), ('version": 2', 'version": 3')):
        assert content.count(value.encode()) == 1
        path.write_bytes(content.replace(value.encode(), other.encode()))
        assert damaged_names(board.store) == {name}
        path.write_bytes(content)
    for at in range(0, len(content), 3):
        new = bytearray(content)
        new[at] ^= 1
        path.write_bytes(new)
        assert verification._trial(board.store, key).damages, (at, bytes(new[at - 20 : at + 20]))


def test_a_mark_that_was_edited_is_no_result_and_is_computed_again(board: Board) -> None:
    key = board.nodes[0].key
    path = board.store.folder(key) / MARK
    path.write_bytes(path.read_bytes().replace(b'wall_s": 2.0', b'wall_s": 9.0'))
    assert not board.store.has(key) and "checksum" in board.store.verify(key)
    done, (problem,) = board.store.scan()
    assert key not in done and problem.key == key


def test_a_damaged_plan_or_failure_is_a_problem_of_the_next_run(board: Board) -> None:
    board.store.write_failure(board.nodes[0], "a traceback", 1)
    for kind, old, new in (("plans", b'"one"', b'"ope"'), ("failures", b"a traceback", b"b traceback")):
        (path,) = (Path(board.store.root) / kind).iterdir()
        content = path.read_bytes()
        path.write_bytes(content.replace(old, new))
        assert [problem.name for problem in board.store.scan()[1]] == [f"{kind}/{path.name}"]
        assert damaged_names(board.store) == {f"{kind}/{path.name}"}
        path.write_bytes(content)
    assert not board.store.scan()[1]


def test_a_sent_file_that_is_damaged_is_sent_again(board: Board, tmp_path: Path) -> None:
    sent = tmp_path / "sent"
    sent.write_bytes(b"weights")
    sha256 = hashlib.sha256(b"weights").hexdigest()
    board.store.put_blob(sha256, sent)
    (Path(board.store.root) / "files" / sha256[:2] / sha256).write_bytes(b"weighty")
    with pytest.raises(ValueError, match=sha256):
        board.store.get_blob(sha256, tmp_path / "got")
    assert not board.store.has_blob(sha256) and not (tmp_path / "got").exists()
    board.store.put_blob(sha256, sent)
    board.store.get_blob(sha256, tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == b"weights"


def test_figures_are_never_made_of_a_damaged_table(board: Board, tmp_path: Path) -> None:
    """Its pages carry checksums; what is in the footer names columns and places, no numbers."""
    summarise(board.store, tmp_path, images=False)
    path = tmp_path / "leaderboard.parquet"
    content = path.read_bytes()
    whole, refused = read(path, LEADERBOARD), 0
    for at in range(4, len(content) - 8 - int.from_bytes(content[-8:-4], "little"), 97):
        new = bytearray(content)
        new[at] ^= 1 << at % 8
        path.write_bytes(new)
        try:
            assert read(path, LEADERBOARD).equals(whole), at
        except ValueError:
            refused += 1
    assert refused > 20
