"""A user's mistake: one clear line, exit code 2, and nothing lost. The command itself starts fast and light."""

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import command
import numpy as np
import pytest
from command import bench, call, refusal, tiny

from benchmark import registry

MISTAKES: list[tuple[str, Any, str]] = [
    ("evasion.0.method", "pdg", "evasion[0]: unknown evasion 'pdg' (did you mean 'pgd'?)"),
    ("evasion.0.epsilon", "8/0", "evasion[0].epsilon: '8/0' is neither a number nor a fraction"),
    ("replicas", -2, "replicas: -2 is not allowed"),
    (
        "pools.num_members",
        2000,
        "num_members: 2000 is not allowed; the private pool of 2970 images has 1485",
    ),
    ("pools.num_classes", 11, "num_classes: 11 is not allowed; the data has 10 classes"),
    ("pools.num_test", 601, "num_test: 601 is not allowed; the data has 600 test images"),
    (
        "pools.auxiliary",
        0.9999,
        "auxiliary: 0.9999 is not allowed; it leaves class 0 with 1100 auxiliary",
    ),
    ("inversion.0.samples_per_class", 101, "inversion[0].samples_per_class: 101 is more than a class has members"),
    (
        "inversion",
        ["gradient", {"method": "gradient", "step": "adam", "samples_per_class": 101}],
        "inversion[1].samples_per_class: 101 is more than a class has members",
    ),
    ("models.1.architecture.width", 10**9, "models[1].architecture.width: 1000000000 is not allowed: input should be"),
    ("models.1.architecture.width", 10**30, "models[1].architecture.width: 1000000000000000000000000000000 is not"),
]


@pytest.mark.parametrize(("path", "value", "said"), MISTAKES, ids=[f"{p}={v}"[:50] for p, v, _ in MISTAKES])
def test_a_mistake_in_the_suite(tmp_path: Path, path: str, value: Any, said: str) -> None:
    suite = command.write(tmp_path, tiny((path, value)))
    for name in ("run", "plan"):
        assert refusal(call(name, suite, "--results", tmp_path / "results")).startswith(said)
    assert not (tmp_path / "results").exists()


def test_more_replicas_than_halves(tmp_path: Path) -> None:
    # two private images of each of two classes: 2 x 2 halves
    pools = {"auxiliary": "1098/1100", "num_classes": 2}
    suite = command.write(tmp_path, tiny(("replicas", 6), ("pools", pools), ("inversion.0.samples_per_class", 1)))
    assert refusal(call("plan", suite)) == "replicas: 6 is not allowed; the private pool has 4 halves"


USAGE: list[tuple[list[str], str]] = [
    (["run", "absent.yaml"], "no suite file 'absent.yaml'"),
    (["run"], "Missing argument 'SUITE'."),
    (["rnu"], "No such command 'rnu'"),
    (["run", "TINY", "--excutor", "local"], "No such option"),
    (["run", "TINY", "--executor", "slurm"], "Invalid value for '--executor': 'slurm' is not one of 'ray', 'local'."),
    (["run", "TINY", "--slots", "0"], "Invalid value for '--slots': 0 is not in the range 1<=x<=100000."),
    (["run", "TINY", "--gpus-per-trial", "-1"], "--gpus-per-trial: -1.0 is no share of GPUs; allowed: 0 to 1"),
    (["run", "TINY", "--device", "tpu"], "--device: 'tpu' is no device; allowed: auto, cpu, cuda, cuda:0"),
    (["run", "TINY", "--device", "cuda:-1"], "--device: 'cuda:-1' is no device"),
    (["run", "TINY", "--address", "127.0.0.1:1"], "--address: nobody answers at '127.0.0.1:1' ([Errno 111]"),
    (
        ["run", "TINY", "--address", "here"],
        "--address: 'here' is no address; allowed: auto, HOST:PORT, ray://HOST:PORT",
    ),
    (["run", "TINY", "--only", "sotfmax"], "--only: unknown model 'sotfmax' (did you mean 'softmax'?); allowed: "),
    (["run", "TINY", "--include", "absent.py"], "--include: no file 'absent.py'"),
    (
        ["run", "TINY", "--results", "ftp://host/results"],
        "results: 'ftp://host/results' is no place for results; allowed: a folder, s3://BUCKET/PREFIX",
    ),
    (["run", "TINY", "--site", "http://here"], "--site: 'http://here' is a URL; allowed"),
    (["status", "--results", "absent"], "--results: no suite was run in 'absent'; allowed: the results folder of a"),
    (["leaderboard", "--results", "absent"], "--results: no suite was run in 'absent'"),
    (["leaderboard", "--port", "70000"], "Invalid value for '--port': 70000 is not in the range"),
    (["list", "--include", "absent.py"], "--include: no file 'absent.py'"),
]


@pytest.mark.parametrize(("arguments", "said"), USAGE, ids=[" ".join(arguments) for arguments, _ in USAGE])
def test_a_mistake_in_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert refusal(call(*(str(command.TINY) if a == "TINY" else a for a in arguments))).startswith(said)
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


@pytest.mark.slow
def test_a_gpu_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = bench("run", command.TINY, "--device", "cuda:0", "--results", tmp_path / "results")  # hides all GPUs
    assert refusal(done) == "--device: 'cuda:0' is not here; torch sees 0 GPUs; allowed: auto, cpu"
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    said = refusal(call("run", command.TINY, "--device", "cuda:2", "--results", tmp_path / "results"))
    assert said == "--device: 'cuda:2' is not here; torch sees 2 GPUs; allowed: auto, cpu, cuda, cuda:0, cuda:1"
    assert not (tmp_path / "results").exists()


@pytest.mark.usefixtures("registered")
def test_an_included_file_that_breaks(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text("x = 1\nraise RuntimeError('no\\nluck')\n")
    said = refusal(call("run", command.TINY, "--include", mine, "--results", tmp_path / "results"))
    assert said == f"--include: '{mine}' line 2: RuntimeError: no luck"
    mine.write_text("def f(:\n")
    said = refusal(call("plan", command.TINY, "--include", mine, "--results", tmp_path / "results"))
    assert said.startswith(f"--include: '{mine}' line 1: SyntaxError: ")


def fashion(folder: Path) -> Path:
    return command.write(folder, tiny(("data", "fashion_mnist")))


def test_data_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.data.fashion_mnist.DEBIAN_FOLDER", tmp_path / "debian")
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "of the environment"))
    said = refusal(call("run", fashion(tmp_path), "--data-root", tmp_path / "given", "--results", tmp_path / "results"))
    for place in ("given", "of the environment", "debian"):
        assert str(tmp_path / place) in said
    assert "apt-get install dataset-fashion-mnist" in said and "--data-root" in said
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("content", [b"", b"no IDX file", bytes([0, 0, 8, 3]) + b"\0" * 40])
def test_data_that_is_damaged(tmp_path: Path, content: bytes) -> None:
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (tmp_path / f"{name}-ubyte").write_bytes(content)
    said = refusal(call("plan", fashion(tmp_path), "--data-root", tmp_path))
    assert said.startswith(f"fashion_mnist: {tmp_path / 'train-images-idx3-ubyte'} is damaged or no IDX file (")


def test_embedded_data_that_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmark import data

    data.load.cache_clear()
    monkeypatch.setattr("benchmark.data.embedded.FILE", tmp_path / "fashion_mnist_13k.npz")
    assert "is missing or damaged" in refusal(call("plan", command.TINY))
    (tmp_path / "fashion_mnist_13k.npz").write_bytes(b"PK\x03\x04 cut off")
    assert "is missing or damaged" in refusal(call("plan", command.TINY))


LIGHT = """
import sys
from click.testing import CliRunner
from benchmark.cli import main
for arguments in (["--help"], ["run", "--help"], ["--version"], ["leaderboard", "-h"]):
    assert CliRunner().invoke(main, arguments).exit_code == 0
heavy = ["torch", "ray", "faiss", "pandas", "pyarrow", "numpy", "pydantic", "rich", "yaml", "plotly"]
print([name for name in heavy if name in sys.modules])
"""


def test_help_loads_nothing_heavy() -> None:
    found = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.slow
def test_a_reader_that_leaves_early_is_no_error() -> None:
    pipe = subprocess.run(
        ["bash", "-c", f"{command.BENCH} list | head -c 10"], capture_output=True, text=True, check=True
    )
    assert pipe.stdout and pipe.stderr == ""


def test_list_and_doctor_on_an_empty_machine(tmp_path: Path) -> None:
    listed = call("list")
    assert listed.exit_code == 0
    for name in ("fashion_mnist_13k", "pgd_at", "small_resnet", "loss_threshold", "gradient"):
        assert name in listed.stdout
    found = call("doctor", "--results", tmp_path / "not" / "there", "--data-root", tmp_path)
    assert found.exit_code == 0, found.stderr
    for word in ("python", "cpu", "faiss", "ray", "GiB free"):
        assert word in found.stdout
    data_sets = dict(line.split(maxsplit=1) for line in found.stdout.splitlines())
    assert data_sets["fashion_mnist_13k"].startswith("found: /")
    assert data_sets["cifar10"].startswith("not found: cifar10: no folder holds data_batch_1,")
    assert data_sets["imagefolder"] == "of your own: set path and size in the suite"
    assert registry.DATA.keys() <= data_sets.keys()
    assert not (tmp_path / "not").exists()


def test_plan_runs_nothing(tmp_path: Path, tiny_run: command.Run) -> None:
    empty = call("plan", command.TINY, "--results", tmp_path / "results")
    assert empty.stdout.startswith("data: Fashion-MNIST")
    assert empty.exit_code == 0 and "87 trials" in empty.stdout and "GPU-hours at an assumed" in empty.stdout
    assert not (tmp_path / "results").exists()
    full = call("plan", command.TINY, "--results", tiny_run.results)
    assert full.exit_code == 0 and "nothing to run" in full.stdout
    more = command.write(tmp_path, tiny(("models.0.regime.epochs", 2)))
    part = call("plan", more, "--results", tiny_run.results)
    assert part.exit_code == 0 and "s of compute left" in part.stdout


def test_a_test_set_of_training_images_is_refused_in_the_plan(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (120, 8, 8), dtype=np.uint8)
    labels = np.arange(120) % 3
    np.savez(tmp_path / "x.npz", images=images, labels=labels, test_images=images, test_labels=labels)
    data = {"method": "npz", "path": str(tmp_path / "x.npz")}
    suite = command.write(tmp_path, tiny(("data", data), ("pools", {}), ("evaluation", {"num_images": 20})))
    said = "pools: 120 of 120 training images repeat test images, which leaves class 0 with 0 different auxiliary"
    assert refusal(call("plan", suite)).startswith(said)


def test_status_says_what_is_there(tiny_run: command.Run) -> None:
    found = call("status", "--results", tiny_run.results)
    assert found.stdout.startswith("suite tiny: 87 trials, 87 done, 0 failed, 0 missing\n")
    assert "\ntrain " in found.stdout and "core-hours" in found.stdout and "left" not in found.stdout.splitlines()[-1]
    assert json.loads(next((tiny_run.results / "plans").iterdir()).read_text())["about"]["path"] == str(command.TINY)


def test_doctor_without_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("benchmark.running.doctor.importlib.metadata.version", missing)
    found = call("doctor", "--results", tmp_path)
    assert found.exit_code == 0, found.output
    assert "bench" in found.stdout and "not installed: run from" in found.stdout
