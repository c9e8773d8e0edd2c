"""What is installed is what was tested: pins, package data, and a Makefile that says what it lacks."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINS = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if line[:1] != "#")
TESTED_ON = {"sys_platform": "linux", "platform_machine": "x86_64", "python_version": "3.11"}
EXTRAS = PROJECT["project"]["optional-dependencies"]
REQUIREMENTS = [
    Requirement(text)
    for text in PROJECT["project"]["dependencies"] + [text for extra in EXTRAS.values() for text in extra]
    if Requirement(text).name != PROJECT["project"]["name"]  # the dev extra names the other extras
]
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="no make")


def applies(requirement: Requirement, machine: dict[str, str]) -> bool:
    return requirement.marker is None or requirement.marker.evaluate(machine)


@pytest.mark.parametrize(
    "requirement", [r for r in REQUIREMENTS if applies(r, TESTED_ON)], ids=lambda requirement: requirement.name
)
def test_every_requirement_is_pinned_within_its_bounds(requirement: Requirement) -> None:
    pins = {name.lower().replace("_", "-"): version for name, version in PINS.items()}
    assert pins[requirement.name.lower()] in requirement.specifier


def test_exactly_one_faiss_is_required_on_every_machine() -> None:
    for platform, machine in (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"), ("win32", "AMD64")):
        here = {"sys_platform": platform, "platform_machine": machine}
        chosen = [r.name for r in REQUIREMENTS if r.name.startswith("faiss") and applies(r, here)]
        assert chosen == ["faiss-gpu" if (platform, machine) == ("linux", "x86_64") else "faiss-cpu"]


@pytest.mark.parametrize("name", ["constraints.txt", "Makefile", "pyproject.toml", ".ci/run"])
def test_no_address_is_written_into_the_install(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "://" not in text
    assert "index-url" not in text


@pytest.mark.parametrize("package", ["benchmark", "leaderboard"])
def test_a_wheel_holds_every_file_of_the_package(package: str) -> None:
    """setuptools takes Python files from folders with an __init__.py, and others by the patterns of package-data."""
    patterns = PROJECT["tool"]["setuptools"]["package-data"][package]
    folder = ROOT / package
    for file in folder.rglob("*"):
        if not file.is_file() or "__pycache__" in file.parts:
            continue
        if file.suffix == ".py":
            assert (file.parent / "__init__.py").is_file(), f"{file.parent} is no package"
        else:
            assert any(file.relative_to(folder).match(pattern) for pattern in patterns), f"{file} is left out"
    for pattern in patterns:
        assert list(folder.glob(pattern)), f"{pattern} matches nothing"


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    return subprocess.run(["make", *arguments], cwd=folder, capture_output=True, text=True, env=environment, timeout=60)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def fake_python(folder: Path, lacks: str) -> str:
    """A `python` that fails whenever the code it is given holds `lacks`, and does nothing otherwise."""
    file = folder / "fake-python"
    file.write_text(f'#!/bin/sh\ncase "$*" in *{lacks}*) exit 1;; esac\n')
    file.chmod(0o755)
    return f"PYTHON={file}"


@needs_make
@pytest.mark.parametrize("target", ["demo", "test"])
@pytest.mark.parametrize(
    ("lacks", "message"),
    [
        ("version_info", "is not Python 3.11 or newer; install one and name it: make PYTHON="),
        ("ensurepip", "cannot make a virtual environment; on Debian: apt-get install python3-venv"),
    ],
)
def test_make_says_what_is_missing(checkout: Path, target: str, lacks: str, message: str) -> None:
    done = make(checkout, target, fake_python(checkout, lacks))
    assert done.returncode == 2
    assert message in done.stdout
    assert not (checkout / ".venv").exists()


@needs_make
def test_make_installs_once(checkout: Path) -> None:
    """Judged by what make would do: its stamps are there, or older than the pins."""
    assert "pip install" in make(checkout, "--dry-run", "test").stdout
    stamps = [checkout / ".venv" / ".installed", checkout / ".venv" / ".installed-dev"]
    stamps[0].parent.mkdir()
    for stamp in stamps:
        stamp.touch()
    for target in ("demo", "test", "lint"):
        commands = make(checkout, "--dry-run", target)
        assert commands.returncode == 0
        assert "pip install" not in commands.stdout
    newer = stamps[0].stat().st_mtime + 10
    os.utime(checkout / "constraints.txt", (newer, newer))
    for target in ("demo", "test"):
        assert "pip install" in make(checkout, "--dry-run", target).stdout


@needs_make
def test_an_install_that_fails_leaves_no_stamp(checkout: Path) -> None:
    bin_folder = checkout / ".venv" / "bin"
    bin_folder.mkdir(parents=True)
    python = bin_folder / "python"
    python.write_text('#!/bin/sh\ncase "$*" in *"pip install"*) exit 1;; esac\n')
    python.chmod(0o755)
    assert make(checkout, "test").returncode == 2
    assert not list((checkout / ".venv").glob(".installed*"))


def test_python_is_what_the_project_says() -> None:
    lowest = re.fullmatch(r">=(\d+)\.(\d+)", PROJECT["project"]["requires-python"])
    assert lowest is not None
    assert f"({lowest[1]}, {lowest[2]})" in (ROOT / "Makefile").read_text()
