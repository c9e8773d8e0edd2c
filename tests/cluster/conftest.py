import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import command
import hosts
import napping
import onprem
import pytest


@pytest.fixture(scope="module")
def cluster() -> Iterator[onprem.Cluster]:
    """Three hosts, `ray up`."""
    reason = hosts.missing()
    if reason:
        pytest.skip(f"no test hosts: {reason}")
    folder = Path(tempfile.mkdtemp(prefix="bench-hosts-", dir="/var/tmp"))
    try:
        with onprem.cluster(folder, 3) as running:
            yield running
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Future[command.Measured]]":
    """What a local run of the lossy suite measures: `command.measured`. It runs while the cluster comes up."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(_measured_here, folder)


def _measured_here(folder: Path) -> command.Measured:
    places = ("--results", folder / "results", "--site", folder / "site")
    include = ("--include", napping.__file__)
    done = command.bench("run", onprem.lossy_suite(folder), *include, "--executor", "local", *places, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return command.measured(folder / "results")
