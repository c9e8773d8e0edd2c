import shutil
import tempfile
from collections.abc import Iterator
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
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> command.Measured:
    """What a local run of the lossy suite measures: `command.measured`."""
    folder = tmp_path_factory.mktemp("undisturbed")
    places = ("--results", folder / "results", "--site", folder / "site")
    include = ("--include", napping.__file__)
    done = command.bench("run", onprem.lossy_suite(folder), *include, "--executor", "local", *places, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return command.measured(folder / "results")
