"""Joining a Ray that somebody else started: its tasks wait there, and it is left running."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import toy

from benchmark.results.store import Store
from benchmark.running.run import run

pytestmark = [pytest.mark.ray, pytest.mark.slow]
JOIN = """
import sys, toy
from benchmark.running.executors.ray import RayExecutor
from benchmark.running.run import run
from benchmark.results.store import Store
store = Store(sys.argv[2])
report = run(toy.diamonds(3), store, lambda settings: RayExecutor(settings, address=sys.argv[1]), toy.settings(store))
print(report.num_executed)
"""
ENVIRONMENT = {
    **os.environ,
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "10",
    "PYTHONPATH": str(Path(toy.__file__).parent),
}


@pytest.fixture
def address() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [Path(sys.executable).with_name("ray"), "start", "--head", "--block", f"--port={port}", "--num-cpus=1"]
    command += ["--node-ip-address=127.0.0.1", "--include-dashboard=false", "--object-store-memory=100000000"]
    # Ray notes the newest cluster of the machine in this folder; a path of pytest's is too long for its sockets.
    folder = tempfile.mkdtemp(dir="/tmp")
    environment = {**ENVIRONMENT, "RAY_TMPDIR": folder}
    head = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert head.stdout is not None
    with head.stdout as output:
        said = next((line for line in output if "Ray runtime started" in line), "")
        assert said, "Ray did not start"
        yield f"127.0.0.1:{port}"
        head.send_signal(signal.SIGTERM)
        output.read()
    head.wait(20)
    shutil.rmtree(folder)


def test_a_joined_ray_gives_the_same_rows_and_stays(address: str, tmp_path: Path) -> None:
    here = Store(tmp_path / "here")
    run(toy.diamonds(3), here, toy.Inline, toy.settings(here))
    for name in ("first", "second"):  # the first leaves the cluster as it found it
        root = tmp_path / name
        command = [sys.executable, "-c", JOIN, address, root]
        found = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=100)
        assert found.stdout.strip() == "10", found.stderr
        assert toy.content(Store(root)) == toy.content(here)
