"""Folders that cannot be written, disks that are full: one clear line, exit code 2, and nothing lost."""

import os
import subprocess
from pathlib import Path

import command
import pytest
from command import bench, call, refusal, snapshot, tiny


def test_a_file_in_the_place_of_a_folder(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    said = refusal(call("run", command.TINY, "--results", file))
    assert said.startswith(f"results: '{file}' cannot be written (") and "allowed: a folder" in said
    said = refusal(call("run", command.TINY, "--results", tmp_path / "results", "--site", file))
    assert said.startswith(f"site: '{file}' cannot be written (") and "allowed: a folder" in said
    assert file.read_text() == "mine"


class Mount:
    """A small file system in memory, for tests that run as root."""

    def __init__(self, place: Path, options: str) -> None:
        self.place, self.options = place, options

    def __enter__(self) -> Path:
        self.place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", self.options, "tmpfs", self.place]
        if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("cannot mount a file system here")
        return self.place

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "-l", self.place], check=True)


def test_a_folder_that_is_read_only(tmp_path: Path) -> None:
    with Mount(tmp_path / "fixed", "ro") as fixed:
        said = refusal(call("run", command.TINY, "--results", fixed / "results"))
        assert said.startswith(f"results: '{fixed / 'results'}' cannot be written (Read-only file system)")
        said = refusal(call("run", command.TINY, "--results", tmp_path / "results", "--site", fixed))
        assert said.startswith(f"site: '{fixed}' cannot be written (Read-only file system)")


def test_a_disk_that_is_full_from_the_start(tmp_path: Path) -> None:
    with Mount(tmp_path / "full", "size=64k") as full:
        (full / "filler").write_bytes(b"\0" * 2**16)
        said = refusal(call("run", command.TINY, "--results", full / "results"))
        assert said.startswith("results: the disk of ") and "is full" in said


@pytest.mark.slow
def test_a_disk_that_fills_up_keeps_what_is_done(tmp_path: Path, tiny_run: command.Run) -> None:
    with Mount(tmp_path / "small", "size=400k") as small:
        places = ("--results", small, "--site", tmp_path / "site")
        call_ = ("run", command.TINY, "--only", "softmax", *command.ONE, *places)
        done = bench(*call_)
        assert "is full" in refusal(done) and "finished trials are kept" in refusal(done)
        kept = command.measured(small)
        assert 0 < len(kept) < 26
        subprocess.run(["mount", "-o", "remount,size=64m", small], check=True)
        done = bench(*call_)
        assert done.returncode == 0, done.stderr
        assert f"{len(kept)} there before" in done.stdout
        found, undisturbed = command.measured(small), command.measured(tiny_run.results)
        assert len(found) == 26 and found == {key: undisturbed[key] for key in found}


def test_a_mistake_leaves_earlier_results_alone(tmp_path: Path, tiny_run: command.Run) -> None:
    before = snapshot(tiny_run.results), snapshot(tiny_run.site)
    broken = command.write(tmp_path, tiny(("replicas", 3)))
    places = ("--results", tiny_run.results, "--site", tiny_run.site)
    for arguments in (
        ("run", broken), ("run", command.TINY, "--only", "x"), ("run", command.TINY, "--device", "tpu"),
        ("run", command.TINY, "--include", "absent.py"),
    ):  # fmt: skip
        refusal(call(*arguments, *places))
    assert (snapshot(tiny_run.results), snapshot(tiny_run.site)) == before
