"""Runs on three test hosts: one loses power, one its cable, the driver is killed, a laptop is closed; nothing is lost.

Measured on two cores: see docs/CLUSTER.md. One file, so that the hosts are gone when its tests are over.
"""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import command
import napping
import pytest
from hosts import Host, until
from onprem import BIN, Cluster, lossy_suite

from benchmark.results.store import Store

pytestmark = [pytest.mark.cluster, pytest.mark.ray, pytest.mark.slow(300)]
CUT_S = 30.0
Undisturbed = Future[command.Measured]


def bench(cluster: Cluster, *arguments: str | Path) -> "subprocess.Popen[str]":
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(
        [BIN / "bench", *arguments], env=cluster.environment, text=True, start_new_session=True, **pipes
    )


def call(cluster: Cluster, *arguments: str | Path) -> tuple[int | None, str, str]:
    with bench(cluster, *arguments) as process:
        output, errors = process.communicate(timeout=900)
    return process.returncode, output, errors


def test_a_closed_laptop_loses_nothing(undisturbed: Undisturbed, cluster: Cluster, tmp_path: Path) -> None:
    results, where = cluster.folder / "sent results", ("--cluster", cluster.file)
    file = lossy_suite(tmp_path)
    send = ("run", file, *where, "--include", napping.__file__, "--results", results, "--site", tmp_path / "site")
    (cluster.naps / "nap").touch()
    with bench(cluster, *send) as first:
        assert first.stdout is not None
        assert f"lossy runs on {cluster.hosts[0].address}; Ctrl-C leaves it" in first.stdout.readline()
        for _ in until(400):
            if any(time.time() - sign.stat().st_mtime < 0.5 for sign in cluster.naps.glob("h*")):
                break
        os.killpg(first.pid, signal.SIGINT)
        output, errors = first.communicate(timeout=120)
    assert first.returncode == 130 and errors == "", errors
    assert (
        f"left; lossy runs on. To look again: the same call. How it stands: bench status --cluster {cluster.file}"
        in output
    )
    with bench(cluster, *send) as second:
        assert second.stdout is not None
        assert "runs on" in (again := second.stdout.readline()) and "already, since 20" in again
        second.kill()
    code, output, errors = call(cluster, "status", *where)
    assert code == 0 and output.startswith("lossy: running, begun 20") and "\n  running " in output, errors
    (cluster.naps / "nap").unlink()
    code, output, errors = call(cluster, *send)
    assert code == 0, output + errors
    assert "suite tiny: most robust first" not in errors and "lossy: most robust first" in output
    assert (tmp_path / "site" / "index.html").exists() and f"page, here: {(tmp_path / 'site').as_uri()}" in output
    # Trials are short, so that the last host's worker may come too late for any.
    assert len({Store(results).provenance(key)["host"] for key in Store(results).keys()}) >= 2

    assert command.measured(results) == undisturbed.result() and Store(results).check() == []
    code, output, errors = call(cluster, "stop", "lossy", *where)
    assert code == 2 and "'lossy' does not run on" in errors, "it is over"


def test_nobody_comes_in_without_the_token(cluster: Cluster) -> None:
    """And the dashboard listens on loopback alone."""
    head = cluster.hosts[0].address
    listening = cluster.on_head("ss -Hltn").stdout.split()
    assert "127.0.0.1:8265" in listening and not {f"{head}:8265", "0.0.0.0:8265", "*:8265"} & set(listening)
    join = "import ray, sys; ray.init(sys.argv[1], logging_level='ERROR'); print('in', len(ray.nodes()))"
    (cluster.folder / "wrong").write_text("0" * 64)
    right, wrong = (
        f"RAY_AUTH_TOKEN_PATH={path}" for path in (cluster.hosts[0].home / ".ray/auth_token", cluster.folder / "wrong")
    )
    calls = [f"HOME=/nowhere {variables} timeout 60 python" for variables in (right, wrong, "RAY_AUTH_MODE=disabled")]
    with ThreadPoolExecutor() as pool:  # who is not let in tries for a while
        done = list(pool.map(lambda call: cluster.on_head(f'{call} -c "{join}" {head}:6379'), calls))
    assert ["in " in one.stdout for one in done] == [True, False, False], [(one.stdout, one.stderr) for one in done]
    permissions = [host.ssh("stat -c %a ~/.ray/auth_token").stdout for host in cluster.hosts]
    assert permissions == ["600\n"] * 3


@contextlib.contextmanager
def driver(cluster: Cluster, file: Path) -> Iterator["subprocess.Popen[str]"]:
    """`bench run` on the head. Its process may be killed there; at the latest it ends with its host."""
    arguments = f"{file} --include {napping.__file__} --address auto --results {cluster.folder}/results"
    script = f"cd {cluster.folder}; echo $$ > driver.pid; exec bench run {arguments} --site {cluster.folder}/site"
    process = cluster.hosts[0].popen(f". ~/robust-or-private/env; {script}")
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def napper(cluster: Cluster, host: Host, seconds: float = 400) -> None:
    """Wait until a trial naps on a host."""
    sign = cluster.naps / host.name
    for _ in until(seconds):
        if sign.exists() and time.time() - sign.stat().st_mtime < 0.5:
            return
    raise AssertionError(f"no trial on {host.name} within {seconds} s")


def test_lost_power_cable_and_driver(undisturbed: Undisturbed, cluster: Cluster) -> None:
    head, lost, unplugged = cluster.hosts
    everyone = [host.address for host in cluster.hosts]
    file = lossy_suite(cluster.folder)
    store = Store(cluster.folder / "results")
    (cluster.naps / "nap").touch()
    with driver(cluster, file) as first:
        napper(cluster, lost)
        begin = time.time()
        lost.kill()
        noticed_s = cluster.wait_for([head.address, unplugged.address], 60) - begin
        napper(cluster, unplugged)
        begin = time.time()
        unplugged.cut()
        plug = threading.Timer(CUT_S, unplugged.plug)
        plug.start()
        cut_noticed_s = cluster.wait_for([head.address], 60) - begin
        napper(cluster, head)
        done = len(store.keys())
        assert cluster.on_head(f"kill -9 $(cat {cluster.folder}/driver.pid)").returncode == 0
        first.wait(60)
    with driver(cluster, file) as second:
        napper(cluster, head)
        (cluster.naps / "nap").unlink()
        plug.join()
        lost.start()  # both are taken back in
        back_s = cluster.wait_for(everyone, 240) - begin - CUT_S
        output, errors = second.communicate(timeout=900)
    print(output, errors)
    print(
        f"ray up {cluster.up_s:.1f} s, three nodes {cluster.ready_s:.1f} s, power {noticed_s:.1f} s, "
        f"cable {cut_noticed_s:.1f} s, back after {back_s:.1f} s, {done} done before the driver was killed"
    )
    assert second.returncode == 0, output + errors
    assert noticed_s < 5 and cut_noticed_s < 5

    assert command.measured(store.root) == undisturbed.result(), "nothing lost, nothing twice, the same numbers"
    assert store.check() == [] and store.failures() == {}
    assert len({store.provenance(key)["host"] for key in store.keys()}) >= 2
