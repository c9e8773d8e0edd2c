import sys
from collections.abc import Iterator

import command
import pytest

from benchmark import registry


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> command.Run:
    """Local processes need no Ray: here it cannot even be imported."""
    folder = tmp_path_factory.mktemp("tiny")
    places = ("--results", folder / "results", "--site", folder / "site")
    done = command.bench("run", command.TINY, "--executor", "local", *places, env=command.without_ray(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    return command.Run(folder / "results", folder / "site", done.stdout, done.stderr)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers is forgotten after it."""
    for kind, names in registry.KINDS.items():
        monkeypatch.setitem(registry.KINDS, kind, dict(names))
    monkeypatch.setattr(registry, "_INCLUDED", dict(registry._INCLUDED))
    known = set(sys.modules)
    yield
    for name in [name for name in sys.modules if name.startswith("bench_include_") and name not in known]:
        del sys.modules[name]
