"""`import benchmark` is light: what is heavy comes when a function is asked for."""

import subprocess
import sys

import pytest

import benchmark


def test_the_import_loads_nothing_heavy() -> None:
    code = (
        "import sys, benchmark; dir(benchmark); heavy = {'torch', 'numpy', 'pandas', 'pyarrow', 'ray', 'pydantic', "
        "'scipy', 'rich', 'faiss'}; print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_a_script_needs_no_main_guard() -> None:
    code = (
        "import torch, benchmark; model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2)).eval()\n"
        "print(benchmark.attack(model, torch.rand(4, 3, 2, 2), torch.tensor([0, 1, 0, 1]), epsilon=0.1, steps=2))"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("AttackResult(pgd, linf, epsilon 0.1, 4 images") and not done.stderr


def test_every_name_is_there_and_no_other() -> None:
    assert set(benchmark.__all__) <= set(dir(benchmark))
    for name in benchmark.__all__:
        assert getattr(benchmark, name).__name__ == name
    with pytest.raises(AttributeError, match="module 'benchmark' has no attribute 'attak'"):
        benchmark.attak  # noqa: B018
