from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def nobody_else_has_data(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without data sets in its cache, its variables or scikit-learn's folder; returns the cache's parent."""
    empty = tmp_path_factory.mktemp("empty")
    monkeypatch.delenv("BENCH_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(empty))
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(empty / "scikit_learn_data"))
    return empty
