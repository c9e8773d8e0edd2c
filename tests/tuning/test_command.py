"""`bench tune` as a user calls it: killed in the middle, called again, and its suite planned."""

import os
import re
import signal
import subprocess
import uuid
from pathlib import Path

import command
import pytest
import yaml
from command import call
from processes import all_left, marked, until

from benchmark.results.store import Store

ATTACKS = command.HELPERS / "toy_attacks.py"


def written(results: Path) -> dict[str, int]:
    """Key -> when its mark was written, of every finished trial."""
    store = Store(results)
    return {key: (store.folder(key) / "trial.json").stat().st_mtime_ns for key in store.keys()}


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.usefixtures("registered")
def test_a_killed_search_goes_on_and_finds_the_best_setting(tmp_path: Path) -> None:
    # Its best aim is 0.3, of four decades; the suite has 3.
    attack = {"method": "toy_aimed", "norm": "l2", "epsilon": 2.0}
    edits = (("evasion", [attack]), ("models", command.tiny()["models"][:1]), ("evaluation.num_images", 60))
    suite = command.write(tmp_path, command.tiny(*edits))
    out, results = tmp_path / "tuned.yaml", tmp_path / "results"
    places = ("--out", out, "--results", results, "--include", ATTACKS, "--attack", "toy_aimed-l2-2")
    arguments = [command.BENCH, "tune", suite, *places, "--budget", "8", "--slots", "2"]
    mark = uuid.uuid4().hex
    with subprocess.Popen(arguments, env=marked(mark), stdout=subprocess.DEVNULL, start_new_session=True) as first:
        for _ in until(120):
            if first.poll() is not None or (results.exists() and len(Store(results).keys()) >= 8):
                break
        assert first.poll() is None, "it was over before it could be killed"
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        all_left(mark)
    before = written(results)
    assert Store(results).check() == [] and not out.exists()
    done = subprocess.run(arguments, env=marked(mark), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    after = written(results)
    assert {key: after[key] for key in before} == before, "nothing is computed twice"
    aim = yaml.safe_load(out.read_text())["tuned"]["toy_aimed-l2-2"]["softmax"]["aim"]
    assert 0.15 < aim < 0.6
    rates = re.search(r"^#   softmax: ([\d.]+) \(.*\) -> ([\d.]+) \(", out.read_text(), re.MULTILINE)
    assert rates is not None and float(rates[2]) > float(rates[1])
    assert "480/480" in done.stdout
    planned = call("plan", out, "--results", results, "--include", ATTACKS)
    assert planned.exit_code == 0, planned.stderr
    assert "suite tuned:" in planned.stdout
