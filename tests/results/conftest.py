from pathlib import Path

import pytest
from board import Board


@pytest.fixture
def board(tmp_path: Path) -> Board:
    """The results of two models, whose run is over."""
    made = Board(tmp_path / "results", ["one", "two"])
    for model in ("one", "two"):
        made.predicted(model, [80, 60], [100, 90])
    made.finish()
    return made
