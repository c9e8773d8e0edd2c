import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import command
import pytest

from benchmark import registry


class Run(NamedTuple):
    """A finished run of the tiny suite. Tests must not write into its folders."""

    results: Path
    site: Path
    stdout: str
    stderr: str


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("tiny")
    results, site = folder / "results", folder / "site"
    done = command.bench("run", command.TINY, "--executor", "local", "--results", results, "--site", site)
    assert done.returncode == 0, done.stdout + done.stderr
    return Run(results, site, done.stdout, done.stderr)


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
