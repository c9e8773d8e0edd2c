"""`ray up`, a run over three hosts, one that loses power, one that loses its cable, and a driver that is killed.

Measured on two busy cores: `ray up` 32 to 71 s, a lost host noticed in 4.1 to 4.5 s, back 22 to 35 s after
its cable was put back.
"""

import contextlib
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import command
import napping
import pytest
from hosts import Host, until
from onprem import Cluster, lossy_suite

from benchmark.store import Store

pytestmark = [pytest.mark.cluster, pytest.mark.ray, pytest.mark.slow]
CUT_S = 30.0


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


def test_lost_power_cable_and_driver(cluster: Cluster, undisturbed: command.Measured) -> None:
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
        back_s = cluster.wait_for([head.address, unplugged.address], 240) - begin - CUT_S
        output, errors = second.communicate(timeout=900)
    print(output, errors)
    print(
        f"ray up {cluster.up_s:.1f} s, three nodes {cluster.ready_s:.1f} s, power {noticed_s:.1f} s, "
        f"cable {cut_noticed_s:.1f} s, back after {back_s:.1f} s, {done} done before the driver was killed"
    )
    assert second.returncode == 0, output + errors
    assert noticed_s < 5 and cut_noticed_s < 5

    assert command.measured(store.root) == undisturbed, "nothing lost, nothing twice, the same numbers"
    assert store.check() == [] and store.failures() == {}
    assert len({store.provenance(key)["host"] for key in store.keys()}) >= 2
    lost.start()  # and it is taken back in
    cluster.wait_for(everyone, 240)
