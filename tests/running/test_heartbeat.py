import json
import os
import subprocess
import time
from pathlib import Path

import pytest
import toy

from benchmark.results.store import Store
from benchmark.running import heartbeat
from benchmark.running.heartbeat import Heartbeat, running
from benchmark.running.run import run
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


def test_files_of_killed_drivers_are_removed_and_no_others(tmp_path: Path) -> None:
    folder, here = Folder(tmp_path), heartbeat.machine()
    process = subprocess.Popen(["true"])
    process.wait()
    now = time.time()
    records = {
        f"{here}-{process.pid}": now,  # killed a moment ago
        f"{here}-{os.getpid()}": now - 600,  # stopped, not dead
        "0123456789ab-12": now - 600,  # its machine may be cut off
        "0123456789ab-13": now - 7200,
        "notes": now - 7200,
        "0123456789ab-14": float("nan"),
    }
    for name, at in records.items():
        folder.write(f"running/{name}.json", json.dumps({"record": "running", "time": at, "trials": []}).encode())
    folder.write("running/0123456789ab-15.json", b"[1, 2")
    heartbeat.clear_dead(folder)
    left = {file.removesuffix(".json") for file in folder.tree("running", 1)}
    gone = {f"{here}-{process.pid}", "0123456789ab-13"}
    assert left == {*records, "0123456789ab-15"} - gone


def test_a_run_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    store = Store(tmp_path)
    process = subprocess.Popen(["true"])
    process.wait()
    beat = {"record": "running", "time": time.time(), "trials": []}
    store.storage.write(f"running/{heartbeat.machine()}-{process.pid}.json", json.dumps(beat).encode())
    run(toy.diamonds(1), store, toy.Inline, toy.settings(store))
    assert list((tmp_path / "running").iterdir()) == []
