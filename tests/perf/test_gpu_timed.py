"""How `make gpu` divides its time, ends a section with all that it started, and writes what it had."""

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from perf.gpu import timed, written
from perf.gpu.timed import Section

SHARES = {"one": 50.0, "two": 30.0, "three": 20.0}


def test_all_limits_together_are_the_time_there_is() -> None:
    left, given = 540.0, []
    for name in SHARES:
        given.append(timed.limit(name, left, SHARES))
        left -= given[-1]  # each takes all that it may
    assert given == pytest.approx([270, 162, 108]) and left == pytest.approx(0)


def test_what_a_section_leaves_goes_to_the_later_ones() -> None:
    assert timed.limit("one", 100, SHARES) == pytest.approx(50)
    # It ended after 10 s: 90 s are left, of which `two` gets 30 parts of 50, and `three` the rest.
    assert timed.limit("two", 90, SHARES) == pytest.approx(54)
    assert timed.limit("three", 90 - 54, SHARES) == pytest.approx(36)


def test_a_section_out_of_time_takes_what_it_started_along(tmp_path: Path) -> None:
    child = "import time; time.sleep(60)"
    parent = f"""import subprocess, sys, time
print(subprocess.Popen([sys.executable, "-c", {child!r}]).pid, flush=True)
time.sleep(60)"""
    log, begin = tmp_path / "log", time.monotonic()
    assert timed.in_a_group([sys.executable, "-c", parent], log, 0.7) is None
    assert time.monotonic() - begin < 10
    assert not _runs(int(log.read_text()))


def test_a_section_that_ends_leaves_nothing_behind(tmp_path: Path) -> None:
    parent = """import subprocess, sys
print(subprocess.Popen(["sleep", "60"]).pid, flush=True)
sys.exit(3)"""
    log = tmp_path / "log"
    assert timed.in_a_group([sys.executable, "-c", parent], log, 30) == 3
    assert not _runs(int(log.read_text()))


def _runs(pid: int) -> bool:
    """Within a second of being killed it is gone, or waits for its new parent to notice."""
    for _ in range(20):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return False
        if state == "Z":
            return False
        time.sleep(0.05)
    os.kill(pid, 9)
    return True


def test_a_failure_keeps_the_rows_before_it_and_its_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def rows() -> Iterator[dict[str, object]]:
        yield {"what": "first"}
        assert json.loads(path.read_text()) == {"rows": [{"what": "first"}], "problem": ""}
        raise ValueError("no folder\nholds the data")

    path = tmp_path / "section.json"
    assert not timed.kept(rows(), path)
    found = json.loads(path.read_text())
    assert found == {"rows": [{"what": "first"}], "problem": "ValueError: no folder holds the data"}
    assert "Traceback" in capsys.readouterr().err
    assert timed.kept([{"what": "second"}], path) and json.loads(path.read_text())["problem"] == ""


def test_results_are_one_json_and_one_table_a_section(tmp_path: Path) -> None:
    rows = [{"what": "a|b", "n": 3, "seconds": 0.123456}, {"what": "c", "share": 1234.5}]
    sections = [Section("truth", 12.0, 30.0, rows=rows), Section("speed", 0.0, 2.0, "not begun: 2 s were left for it")]
    written.write(tmp_path, {"device": "X", "torch": "2.11"}, sections)
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["made"]["device"] == "X" and found["sections"][0]["rows"] == rows
    assert (tmp_path / "gpu.md").read_text().splitlines() == [
        "device X, torch 2.11",
        "",
        "### truth (12 s of 30)",
        "",
        "| what | n | seconds | share |",
        "| --- | --- | --- | --- |",
        "| a\\|b | 3 | 0.123 |  |",
        "| c |  |  | 1,234 |",
        "",
        "### speed (0 s of 2)",
        "",
        "not begun: 2 s were left for it",
        "",
    ]


def test_hardware_names_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = tmp_path / "COMMIT"
    monkeypatch.setattr(written, "COMMIT", commit)
    assert {"device", "cores", "Python", "torch", "CUDA", "cuDNN", "triton", "this project"} <= set(
        written.hardware("cpu")
    )
    commit.write_text("abc\n")  # of code that travelled without its history
    assert written.hardware("cpu")["this project"] == "abc"
