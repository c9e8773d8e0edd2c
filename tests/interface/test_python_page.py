"""Every Python example of docs/PYTHON.md runs, in the order of the page, as in one notebook."""

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

PAGE = Path(__file__).parents[2] / "docs" / "PYTHON.md"


@pytest.mark.slow
def test_the_examples_run(registered: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    torch.manual_seed(0)
    text, notebook = PAGE.read_text(), ModuleType("notebook")
    notebook.__dict__["SUITE"] = str(PAGE.parents[1] / "suites" / "quick.yaml")
    monkeypatch.setitem(sys.modules, "notebook", notebook)  # where a method of the reader's is looked up
    blocks = list(re.finditer(r"```python\n(.*?)```", text, re.DOTALL))
    assert len(blocks) >= 6
    for block in blocks:
        above = text[: block.start(1)].count("\n")  # so that a traceback names the line of the page
        exec(compile("\n" * above + block[1], str(PAGE), "exec"), notebook.__dict__)
