import os
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = os.environ.get("FUZZ_SECONDS")
"""CPU time in all; unset: some twenty seconds, with inputs that are always the same."""


@pytest.mark.slow
def test_no_input_gives_a_traceback_or_takes_long(tmp_path: Path) -> None:
    """In a process of its own: its memory is bounded, and what it draws depends on nothing that ran before."""
    arguments = ["--out", str(tmp_path / "findings"), *(["--seconds", SECONDS] if SECONDS else [])]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", *arguments],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-3000:]}"
