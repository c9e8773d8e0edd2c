"""Ray's own folder: one a driver, gone with it, and nobody else's is touched."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import toy

from benchmark.results.store import Store
from benchmark.running.executors import ray_folder, ray_start
from benchmark.running.executors.ray_folder import RayFolder


@pytest.fixture
def base(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("r")
    monkeypatch.setattr(ray_folder, "_SOCKET", "/s")  # pytest's own folders have long names
    monkeypatch.setenv("RAY_TMPDIR", str(folder))
    return folder


KILLED = """
import os
from benchmark.running.executors import ray_folder
ray_folder._SOCKET = "/s"
found = ray_folder.RayFolder.make()
(found.path / "session_1").mkdir()
print(found.path, flush=True)
os.kill(os.getpid(), 9)
"""


def test_a_killed_drivers_folder_goes_when_the_next_one_starts(base: Path) -> None:
    living = RayFolder.make()
    killed = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, timeout=60)
    assert killed.returncode == -9 and Path(killed.stdout.strip()).is_dir(), killed.stderr
    other = RayFolder.make()
    assert sorted(base.iterdir()) == sorted([living.path, other.path])
    assert living.path.stat().st_mode & 0o077 == 0
    living.remove()
    other.remove()
    assert list(base.iterdir()) == []


def test_what_is_not_a_dead_drivers_stays(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (base / "session_2026").mkdir()
    (base / "bench-ray-file").write_text("a file")
    elsewhere = base / "precious"
    elsewhere.mkdir()
    (elsewhere / "lock").touch()
    (base / "bench-ray-link").symlink_to(elsewhere)
    (base / "bench-ray-new").mkdir()  # its driver has not locked it yet
    before = sorted(base.rglob("*"))
    RayFolder.make().remove()
    assert sorted(base.rglob("*")) == before
    os.utime(base / "bench-ray-new", (time.time() - 7200,) * 2)
    RayFolder.make().remove()
    assert sorted(base.rglob("*")) == [path for path in before if path.name != "bench-ray-new"]
    (base / "bench-ray-theirs").mkdir()
    (base / "bench-ray-theirs" / "lock").touch()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    RayFolder.make().remove()
    assert (base / "bench-ray-theirs" / "lock").exists()


def test_a_named_place_that_will_not_do_is_refused(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> str:
        with pytest.raises(ValueError) as error:
            RayFolder.make()
        assert "\n" not in str(error.value) and str(error.value).endswith(ray_folder.ADVICE)
        return str(error.value)

    monkeypatch.setenv("RAY_TMPDIR", str(base / "absent"))
    assert refused().startswith(f"RAY_TMPDIR: Ray cannot keep its files in '{base}/absent' (No such file or directory)")
    monkeypatch.setenv("RAY_TMPDIR", str(base))
    monkeypatch.setattr(ray_folder, "_NEEDED_BYTES", 2**60)
    assert "MiB are free" in refused()
    monkeypatch.setattr(ray_folder, "_NEEDED_BYTES", 0)
    monkeypatch.setattr(ray_folder, "_SOCKET", "/s" * 60)
    assert "characters too long for a socket" in refused()
    assert list(base.iterdir()) == []


def test_another_place_is_taken_where_none_is_named(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_TMPDIR")
    monkeypatch.setattr("tempfile.tempdir", str(base / "absent"))
    found = RayFolder.make()
    found.remove()
    assert found.path.parent == Path("/tmp")


def test_where_ray_does_not_start_is_a_line(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def init(**options: Any) -> None:
        assert Path(options["_temp_dir"]).is_dir()
        raise OSError(errno.ENOSPC, "No space left on device\nand more")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(ValueError, match=r"^Ray does not start on this machine \(.*No space left on device\), in "):
        ray_start.start(ray, toy.settings(Store("r")), 1)
    assert list(base.iterdir()) == []
