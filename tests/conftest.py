import os
import sys
import threading
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import command
import pytest
from once import once
from side_by_side import (  # noqa: F401 - hooks of pytest
    pytest_collection_finish,
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_runtest_teardown,
    pytest_terminal_summary,
    pytest_xdist_make_scheduler,
)

from benchmark import registry
from benchmark.user_files import include


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> command.Run:
    """Local processes need no Ray: here it cannot even be imported."""
    return once(tmp_path_factory, "tiny", _run_tiny)


def _run_tiny(folder: Path) -> command.Run:
    places = ("--results", folder / "results", "--site", folder / "site")
    done = command.bench("run", command.TINY, "--executor", "local", *places, env=command.without_ray(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    return command.Run(folder / "results", folder / "site", done.stdout, done.stderr)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """A real S3 server on loopback. It takes one request at a time: else two could create one object."""
    import moto.server
    from moto.server import DomainDispatcherApplication, ThreadedMotoServer

    turn = threading.Lock()

    class OneAtATime(DomainDispatcherApplication):
        def __call__(self, *request: Any) -> Any:
            with turn:
                return super().__call__(*request)

    moto.server.DomainDispatcherApplication = OneAtATime  # type: ignore[misc]
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.fixture
def s3_url(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A place of its own for results; the environment says how to reach it, to processes of the test too."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "AWS_ENDPOINT_URL": s3_endpoint,
        "AWS_ACCESS_KEY_ID": "name",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    # Each time: moto's mocks in other tests empty this server too, since it is in this process.
    urllib.request.urlopen(urllib.request.Request(f"{s3_endpoint}/bench", method="PUT")).close()
    return f"s3://bench/{uuid.uuid4().hex[:8]}/results"


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers is forgotten after it."""
    for kind, names in registry.KINDS.items():
        monkeypatch.setitem(registry.KINDS, kind, dict(names))
    monkeypatch.setattr(include, "_INCLUDED", dict(include._INCLUDED))
    known = set(sys.modules)
    yield
    for name in [name for name in sys.modules if name.startswith("bench_include_") and name not in known]:
        del sys.modules[name]
