"""A run that outlives who started it: one at a time, its log, its exit code, its end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import until

from benchmark.cluster import detached

SLEEP = [sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(60)"]


def wait_for(folder: Path, name: str, text: str = "") -> None:
    for _ in until(20):
        if (folder / name).exists() and text in (folder / name).read_text():
            return
    raise AssertionError(f"no {text!r} in {name}")


def log_of(folder: Path, offset: int = 0) -> tuple[int, bytes]:
    read = bytearray()
    code = detached.follow(folder, offset, read.extend)
    return code, bytes(read)


@pytest.mark.parametrize("code", [0, 1, 2])
def test_log_and_exit_code(tmp_path: Path, code: int) -> None:
    script = f"import sys; print('one'); print('two', file=sys.stderr); sys.exit({code})"
    assert detached.start(tmp_path / "toys", [sys.executable, "-u", "-c", script], {"results": "/r"})
    assert log_of(tmp_path / "toys") == (code, b"one\ntwo\n")
    assert log_of(tmp_path / "toys", 4) == (code, b"two\n"), "whoever looks again goes on where he was"
    (state,) = detached.states(tmp_path)
    assert (state["name"], state["running"], state["code"], state["results"]) == ("toys", False, code, "/r")
    assert state["command"][-1] == script and abs(state["begun"] - time.time()) < 60


def test_one_at_a_time_and_stop(tmp_path: Path) -> None:
    folder = tmp_path / "toys"
    assert detached.start(folder, SLEEP, {}) and detached.running(folder)
    wait_for(folder, "log", "begun")
    assert not detached.start(folder, ["true"], {}), "the first still runs"
    assert detached.state(folder)["command"] == SLEEP and detached.state(folder)["code"] is None
    wait_for(folder, "pid")
    assert detached.stop(folder)
    code, log = log_of(folder)
    assert code == 130 and b"KeyboardInterrupt" in log
    assert detached.start(folder, ["true"], {})
    assert log_of(folder) == (0, b""), "a new run has a new log"


@pytest.mark.parametrize("also_supervisor", [False, True])
def test_killed(tmp_path: Path, also_supervisor: bool) -> None:
    detached.start(tmp_path, SLEEP, {})
    wait_for(tmp_path, "pid")
    driver = int((tmp_path / "pid").read_text())
    if also_supervisor:  # as when the machine is switched off
        os.kill(int(Path(f"/proc/{driver}/stat").read_text().rpartition(")")[2].split()[1]), signal.SIGKILL)
        assert detached.running(tmp_path), "the driver itself is still there"
    os.kill(driver, signal.SIGKILL)
    assert log_of(tmp_path)[0] == (detached.LOST if also_supervisor else 137)
    assert detached.state(tmp_path)["code"] == (None if also_supervisor else 137)


def test_the_driver_is_no_child_of_who_started_it(tmp_path: Path) -> None:
    """Its session is its own: neither Ctrl-C nor a closed terminal reaches it."""
    program = "import pathlib, sys; from benchmark.cluster import detached; "
    program += "detached.start(pathlib.Path(sys.argv[1]), sys.argv[2:], {})"
    subprocess.run([sys.executable, "-c", program, tmp_path, *SLEEP], check=True)
    wait_for(tmp_path, "pid")
    driver = int((tmp_path / "pid").read_text())
    assert os.getsid(driver) == driver != os.getsid(0)
    assert json.loads((tmp_path / "call.json").read_text())["command"] == SLEEP
    assert detached.stop(tmp_path)


@pytest.mark.parametrize(
    ("suite", "name"), [("cifar-10.v2", "cifar-10.v2"), ("../x", None), ("a b", None), (".", None)]
)
def test_folder_names(suite: str, name: str | None) -> None:
    found = detached.folder_name(suite)
    assert found == name if name else found.startswith("suite-") and len(found) == 18
