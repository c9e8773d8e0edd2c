"""The folder that carries `make gpu` to a machine without a network."""

import importlib.metadata
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from perf.gpu import folder, written

PINS = folder.pinned((folder.ROOT / "constraints.txt").read_text())
DEVELOPMENTS = {"robust-or-private", "setuptools", "pip"}
BLOCKER = """import sys
hidden = {hidden!r}
class Hiding:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if path is None and name in hidden else self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)
sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path]
"""


def test_only_what_the_machine_lacks_is_carried() -> None:
    found = folder.carried(["PyYAML", "pydantic_core", "Jinja2"], {"pyyaml", "jinja2"}, {"pydantic-core": "2.5"})
    assert found == ["pydantic-core==2.5"]
    with pytest.raises(ValueError, match="pins no rich; allowed: names that it pins"):
        folder.carried(["rich"], (), {})


def test_every_name_has_a_pin() -> None:
    assert len(folder.carried((*folder.NEEDED, *folder.IF_THERE_IS_ROOM), (), PINS)) == len(folder.NEEDED) + 1


def test_what_pip_freeze_says_is_read() -> None:
    lines = ["# a comment", "torch==2.11.0", "typing_extensions 4.12", "", "-e git+x", "Foo.Bar @ file:///x"]
    assert folder.there(lines) == {"torch", "typing-extensions", "foo-bar"}


def test_a_slim_wheel_has_the_files_that_are_wanted(tmp_path: Path) -> None:
    wheel = tmp_path / "x-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as made:
        made.writestr("x/__init__.py", "a = 1")
        made.writestr("x/large.py", "b" * 1000)
    folder.slim(wheel, ["x/__init__.py"])
    with zipfile.ZipFile(wheel) as found:
        assert found.namelist() == ["x/__init__.py"] and found.read("x/__init__.py") == b"a = 1"


def test_run_sh_unpacks_once_and_passes_options_on(tmp_path: Path) -> None:
    """With a stand-in for the code, which says what it sees."""
    code, wheels = tmp_path / "code/perf/gpu", tmp_path / "wheels"
    for place in (code, wheels, tmp_path / "data"):
        place.mkdir(parents=True)
    said = "import os, sys, carried; print(carried.x, os.environ['BENCH_DATA'], *sys.argv[1:])"
    (code / "__main__.py").write_text(said)
    with zipfile.ZipFile(wheels / "carried-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("carried.py", "x = 7")
    (tmp_path / "run.sh").write_text(folder._RUN)
    call = ["sh", str(tmp_path / "run.sh"), "--minutes", "3"]
    for _ in range(2):
        done = subprocess.run(
            call, env={"PATH": os.environ["PATH"], "PYTHON": sys.executable}, capture_output=True, text=True
        )
        assert done.stdout.split() == ["7", str(tmp_path / "data"), "--minutes", "3"], done.stderr


def test_the_code_is_what_is_under_version_control(tmp_path: Path) -> None:
    folder.copy_code(tmp_path)
    assert (tmp_path / "suites/fashion.yaml").exists() and (tmp_path / "tests/suites/tiny.yaml").exists()
    assert (tmp_path / "benchmark/data/embedded_files/fashion_mnist_13k.npz").stat().st_size > 1_000_000
    assert (tmp_path / written.COMMIT.relative_to(folder.ROOT)).read_text().strip()
    assert not (tmp_path / "tests/perf").exists() and not list(tmp_path.rglob("__pycache__"))


def test_a_folder_that_is_not_new_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(ValueError, match="is not empty; allowed: a new folder"):
        folder.make(tmp_path, "3.12", (), None)


@pytest.mark.slow
def test_a_suite_runs_with_nothing_but_what_is_carried_and_presumed(tmp_path: Path) -> None:
    """A whole run whose processes can import no other distribution: nothing has been forgotten in the lists."""
    carried = {folder.canonical(name) for name in folder.NEEDED}
    presumed = _with_dependencies({folder.canonical(name) for name in folder.PRESUMED})
    modules = importlib.metadata.packages_distributions()
    visible = carried | presumed | DEVELOPMENTS
    hidden = {name for name, of in modules.items() if not visible & {folder.canonical(one) for one in of}}
    assert {"ray", "faiss", "pandas", "obstore"} <= hidden and "pydantic" not in hidden
    (tmp_path / "sitecustomize.py").write_text(BLOCKER.format(hidden=hidden))
    paths = os.pathsep.join([str(tmp_path), str(folder.ROOT)])
    call = "from benchmark.cli import main; main()"
    suite = str(folder.ROOT / "tests/suites/tiny.yaml")
    options = ["--executor", "local", "--device", "cpu", "--only", "softmax"]
    places = ["--results", str(tmp_path / "results"), "--site", str(tmp_path / "site")]
    blocked = subprocess.run(
        [sys.executable, "-c", "import pandas"], env={**os.environ, "PYTHONPATH": paths}, capture_output=True
    )
    assert blocked.returncode == 1 and b"No module named 'pandas'" in blocked.stderr
    program = tmp_path / "program.py"
    program.write_text(f"if __name__ == '__main__':\n    {call}\n")
    done = subprocess.run(
        [sys.executable, str(program), "run", suite, *options, *places],
        env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert (tmp_path / "site/index.html").exists()


def _with_dependencies(names: set[str]) -> set[str]:
    """Theirs too, as installed here; extras left out."""
    found, left = set(names), list(names)
    while left:
        try:
            requirements = importlib.metadata.requires(left.pop()) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for requirement in requirements:
            if "extra ==" not in requirement:
                words = requirement.replace(";", " ").replace("(", " ").replace("[", " ")
                for sign in "<>=!~":
                    words = words.replace(sign, " ")
                name = folder.canonical(words.split()[0])
                left += [name] if name not in found else []
                found.add(name)
    return found
