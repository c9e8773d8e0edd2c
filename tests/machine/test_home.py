"""Who has no name and no home can run as well; what a terminal cannot show ends nothing."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import command
import pytest

from benchmark.machine import home
from benchmark.machine.home import cache_folder, settle


@pytest.fixture
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user whom no list knows; returns the folder for temporary files."""

    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr("pwd.getpwuid", unknown)
    for name in ("HOME", "XDG_CACHE_HOME", *home._WHO):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"robust-or-private-{os.getuid()}"


def test_a_user_without_name_and_home_gets_both(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import getpass

    assert cache_folder() == nobody / ".cache" / "robust-or-private"
    settle()
    assert getpass.getuser() == f"user{os.getuid()}" and Path.home() == nobody
    assert nobody.stat().st_mode & 0o777 == 0o700
    found = command.call("doctor")
    assert found.exit_code == 0 and f"in {nobody}/.cache/robust-or-private" in found.stdout, found.output


@pytest.mark.parametrize("name", ["LOGNAME", "USER"])
def test_a_name_that_is_there_stays(nobody: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "somebody")
    monkeypatch.setenv("HOME", "/somewhere")
    settle()
    assert os.environ[name] == "somebody" and os.environ["HOME"] == "/somewhere" and not nobody.exists()


def test_a_home_that_cannot_be_written(nobody: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "read only"))
    monkeypatch.setattr(os, "access", lambda path, mode: str(path).startswith(str(nobody)))
    assert cache_folder() == nobody / ".cache" / "robust-or-private"
    monkeypatch.setattr(home, "existing", lambda path: Path("/root/secret").stat() and path)
    assert cache_folder() == nobody / ".cache" / "robust-or-private"


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for given in ("", "relative/to/what"):  # which the standard says to ignore
        monkeypatch.setenv("XDG_CACHE_HOME", given)
        assert cache_folder() == tmp_path / ".cache" / "robust-or-private"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "given"))
    assert cache_folder() == tmp_path / "given" / "robust-or-private"


def test_a_folder_of_another_user_is_no_home(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (nobody.parent / "theirs").mkdir()
    nobody.symlink_to(nobody.parent / "theirs")
    said = command.refusal(command.call("doctor"))
    assert said == (
        f"there is no home folder, and '{nobody}' is another user's; "
        "allowed: HOME=FOLDER or XDG_CACHE_HOME=FOLDER, which you may write to"
    )


STREAMS = [
    {"PYTHONIOENCODING": "latin-1"},
    {"PYTHONIOENCODING": "ascii:strict"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"PYTHONIOENCODING": "utf-8:strict"},
]


@pytest.mark.parametrize("variables", STREAMS, ids=[" ".join(one.values()) for one in STREAMS])
def test_no_character_ends_a_command(tmp_path: Path, variables: dict[str, str]) -> None:
    code = """
import sys
import benchmark.cli.list_doctor
from benchmark.cli import main
from benchmark.cli.common import terminal
def say():
    terminal().print("caf\\u00e9 \\u2192 \\u6a21\\u578b \\udcff", markup=False)
    raise ValueError("no \\u6a21\\u578b, no \\udcff, no \\x1b[2J")
main.commands["list"].callback = lambda include: say()
sys.argv = ["bench", "list"]
main()
"""
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env={**os.environ, **variables}, timeout=60
    )
    assert found.returncode == 2 and found.stdout.startswith(b"caf"), found.stderr
    assert found.stderr.startswith(b"bench: error: no ") and found.stderr.count(b"\n") == 1
    assert b"\x1b" not in found.stderr
