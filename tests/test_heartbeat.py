from pathlib import Path

import pytest

from benchmark import heartbeat
from benchmark.heartbeat import Heartbeat, running
from benchmark.storage.folder import Folder


def test_what_runs_is_seen_while_the_driver_lives_and_not_after(tmp_path: Path) -> None:
    with Heartbeat(Folder(tmp_path)) as beat:
        beat.beat(["train small-vgg 0"])
        assert running(Folder(tmp_path)) == ["train small-vgg 0"]
        beat.beat(["train small-vgg 1"])  # too soon to be written
        assert running(Folder(tmp_path)) == ["train small-vgg 0"]
    assert running(Folder(tmp_path)) == []


def test_a_killed_driver_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beat = Heartbeat(Folder(tmp_path))
    beat.beat(["train small-vgg 0"])
    monkeypatch.setattr(heartbeat, "STALE_S", 0.0)
    assert running(Folder(tmp_path)) == []


def test_a_foreign_file_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "running").mkdir()
    (tmp_path / "running" / "notes.json").write_text("[1, 2")
    assert running(Folder(tmp_path)) == []
