"""Puts all that `make gpu` needs into one folder, for a machine that has a GPU and torch, but no network.

`python -m perf.gpu.folder TARGET` writes the code, the wheels that such a machine lacks, and `run.sh`, which unpacks
them beside itself and runs `python -m perf.gpu`. It says what each part weighs.
"""

import argparse
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Collection, Iterable
from pathlib import Path

from benchmark.trials.provenance import git_commit
from perf.gpu.written import COMMIT

ROOT = Path(__file__).parents[2]
CODE = ("benchmark", "leaderboard", "perf", "suites", "tests/suites", "pyproject.toml", "constraints.txt", "LICENSE")
NEEDED = (
    "annotated-types", "click", "Jinja2", "markdown-it-py", "MarkupSafe", "mdurl", "numpy", "nvidia-ml-py", "pillow",
    "plotly", "pyarrow", "pydantic", "pydantic_core", "Pygments", "PyYAML", "rich", "safetensors", "scipy",
    "typing-inspection", "typing_extensions",
)  # fmt: skip
"""What `bench run --executor local` imports, besides torch and torchvision."""
ONLY = {"plotly": ("plotly/__init__.py", "plotly/package_data/plotly.min.js")}
"""Files of a wheel that are wanted, where not all of them are: the page copies plotly's script and imports nothing."""
IF_THERE_IS_ROOM = ("faiss-cpu",)
"""Without it torch searches. FAISS-GPU and the CUDA libraries that it brings are many times too large."""
PRESUMED = (
    "torch", "torchvision", "numpy", "safetensors", "pyarrow", "scikit-learn", "scipy", "click", "rich", "PyYAML",
    "pillow", "Jinja2", "timm", "nvidia-ml-py", "markdown-it-py", "MarkupSafe", "mdurl", "Pygments",
)  # fmt: skip
"""What a machine for machine learning has, unless `--have` says what it has. Not `typing_extensions`: it has one, but
pydantic needs a new one.
"""
MOST_BYTES = 64 * 2**20
_PLATFORMS = tuple(f"manylinux_2_{minor}_x86_64" for minor in (28, 27, 24, 17, 12, 5)) + ("manylinux2014_x86_64", "any")
_RUN = """#!/bin/sh
# Unpacks the wheels beside this file, once, and runs `python -m perf.gpu` with the options given here.
set -e
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
if [ ! -d "$here/packages" ]; then
  rm -rf "$here/packages.new"
  mkdir "$here/packages.new"
  for wheel in "$here"/wheels/*.whl; do "$python" -m zipfile -e "$wheel" "$here/packages.new"; done
  mv "$here/packages.new" "$here/packages"
fi
export PYTHONPATH="$here/code:$here/packages" PYTHONSAFEPATH=1  # not the code of the folder where it is called
if [ -d "$here/data" ]; then export BENCH_DATA="$here/data"; fi
exec "$python" -m perf.gpu "$@"
"""


def canonical(name: str) -> str:
    """One spelling of a distribution's name (PEP 503)."""
    return name.strip().lower().replace("_", "-").replace(".", "-")


def there(lines: Iterable[str]) -> set[str]:
    """Names in the lines of `pip freeze`, of `pip list`, or one a line."""
    words = (line.replace("==", " ").replace("@", " ").split() for line in lines)
    return {canonical(found[0]) for found in words if found and not found[0].startswith(("#", "-"))}


def pinned(constraints: str) -> dict[str, str]:
    """Name -> version, as `constraints.txt` pins them; both kinds of FAISS have the same versions."""
    pairs = (line.split("==") for line in constraints.splitlines() if "==" in line and not line.startswith("#"))
    found = {canonical(name): version.strip() for name, version in pairs}
    found.setdefault("faiss-cpu", found.get("faiss-gpu", ""))
    return found


def carried(names: Iterable[str], have: Collection[str], pins: dict[str, str]) -> list[str]:
    """NAME==VERSION of those that the machine has not. Raises ValueError for one without a pin."""
    lacking = [canonical(name) for name in names if canonical(name) not in have]
    for name in lacking:
        if not pins.get(name):
            raise ValueError(f"constraints.txt pins no {name}; allowed: names that it pins")
    return [f"{name}=={pins[name]}" for name in lacking]


def copy_code(target: Path) -> None:
    """Files under version control, as they are now; of the tests the small suites alone."""
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z", "--", *CODE], capture_output=True, check=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, place)
    (target / COMMIT.relative_to(ROOT)).write_text(git_commit() + "\n")


def download(requirements: list[str], target: Path, python: str) -> None:
    """Their wheels for Linux on x86-64. Raises RuntimeError with pip's last line."""
    target.mkdir(parents=True, exist_ok=True)
    abi = f"cp{python.replace('.', '')}"
    call = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest"]
    call += [str(target), "--python-version", python, "--implementation", "cp"]
    for kind, values in (("--abi", (abi, "abi3", "none")), ("--platform", _PLATFORMS)):
        call += [word for value in values for word in (kind, value)]
    done = subprocess.run([*call, *requirements], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"pip download: {(done.stderr.strip().splitlines() or ['it said nothing'])[-1]}")


def slim(wheel: Path, names: Collection[str]) -> None:
    """Leave only these files in a wheel."""
    beside = wheel.with_suffix(".new")
    with zipfile.ZipFile(wheel) as whole, zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as kept:
        for name in names:
            kept.writestr(name, whole.read(name))
    beside.replace(wheel)


def size(folder: Path) -> int:
    """Bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def make(target: Path, python: str, have: Collection[str], data: Path | None) -> list[str]:
    """Fill the folder; returns what to say. Raises ValueError where it is not empty, RuntimeError."""
    if target.exists() and any(target.iterdir()):
        raise ValueError(f"{target} is not empty; allowed: a new folder")
    copy_code(target / "code")
    pins, wheels = pinned((ROOT / "constraints.txt").read_text()), target / "wheels"
    download(carried(NEEDED, have, pins), wheels, python)
    for name, files in ONLY.items():
        for wheel in wheels.glob(f"{name}-*.whl"):
            slim(wheel, files)
    (target / "run.sh").write_text(_RUN)
    (target / "run.sh").chmod((target / "run.sh").stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    if data is not None:
        (target / "data").mkdir()
        for path in sorted(data.glob("*-ubyte*")):
            shutil.copyfile(path, target / "data" / path.name)
    said = []
    for requirement in carried(IF_THERE_IS_ROOM, have, pins):
        download([requirement], target / "more", python)
        if (would_be := size(target)) <= MOST_BYTES:
            for path in (target / "more").iterdir():
                path.rename(wheels / path.name)
        else:
            said.append(f"left out: {requirement}, with which it would be {would_be / 2**20:.1f} MiB")
        shutil.rmtree(target / "more")
    parts = {path.name: size(path) for path in sorted(target.iterdir()) if path.is_dir()}
    told = ", ".join(f"{name} {weight / 2**20:.1f} MiB" for name, weight in parts.items())
    over = "" if size(target) <= MOST_BYTES else f", more than {MOST_BYTES / 2**20:.0f}"
    said.append(f"{target}: {size(target) / 2**20:.1f} MiB{over}: {told}; there: ./run.sh --minutes 8.8")
    return [*(f"wheel: {path.name}" for path in sorted(wheels.iterdir())), *said]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m perf.gpu.folder", description=__doc__)
    parser.add_argument("target", type=Path, help="a new folder")
    parser.add_argument("--python", default="3.12", help="of that machine; default: %(default)s")
    parser.add_argument("--have", type=Path, help="what that machine has, as `pip freeze` says; default: what is usual")
    parser.add_argument("--data", type=Path, help="folder of Fashion-MNIST's four files, to be brought along")
    options = parser.parse_args()
    have = there(options.have.read_text().splitlines() if options.have else PRESUMED)
    try:
        print(*make(options.target, options.python, have, options.data), sep="\n")
    except (OSError, ValueError, RuntimeError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
