"""docs/ARCHITECTURE.md says what the code says: its picture and rows are made anew, its links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))
import make_architecture as made

TEXT = made.PAGE.read_text()


def test_the_picture_and_the_rows_are_those_of_the_code() -> None:
    checked = subprocess.run([sys.executable, made.__file__, "--check"], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout) == (0, "")


def test_a_stale_page_is_noticed() -> None:
    """An arrow more, a row less: neither survives."""
    assert made.filled(TEXT) == TEXT
    assert made.filled(TEXT.replace("```mermaid\n", "```mermaid\n    storage --> cli\n")) == TEXT
    assert made.filled(re.sub(r"\| \[`benchmark/cli/`\].*\n", "", TEXT)) == TEXT
    with pytest.raises(ValueError, match="end: rows"):
        made.filled(TEXT.replace("<!-- end: rows -->", ""))


def test_every_package_has_its_row() -> None:
    root = made.ROOT / "benchmark"
    packages = {f"benchmark/{file.parent.name}/" for file in root.glob("*/__init__.py")} | {"leaderboard/"}
    packages |= {f"benchmark/{file.name}" for file in root.glob("*.py") if file.stem != "__init__"}
    assert packages == set(re.findall(r"^\| \[`([^`]+)`\]\(\.\./\1?[^)]*\) \| \S", TEXT, re.MULTILINE)) & packages


def test_every_file_on_the_page_exists() -> None:
    links = re.findall(r"\[`([^`]+)`\]\(([^)]+)\)", TEXT)
    assert len(links) > 40
    for shown, link in links:
        assert (made.PAGE.parent / link).exists(), link
        assert link.rstrip("/").endswith(shown.rstrip("/")), f"{shown} leads to {link}"
    in_words = re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.py)`", TEXT)
    for file in in_words:
        assert (made.ROOT / file).exists() or (made.ROOT / "benchmark" / file).exists(), file


def test_the_arrows_imply_every_import_and_nothing_else() -> None:
    """By hand on a small graph, then on ours: reachable is the same before and after."""
    assert made.reduced({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == {"a": {"b"}, "b": {"c"}, "c": set()}
    with pytest.raises(ValueError, match="a imports itself"):
        made.reduced({"a": {"b"}, "b": {"a"}})
    graph = made.imports()
    arrows = made.reduced(graph)
    assert graph["leaderboard"] == {"schema"}
    assert {name: made.reach(arrows, name) for name in graph} == {name: made.reach(graph, name) for name in graph}


def test_at_least_twenty_places_to_open() -> None:
    table = TEXT.partition("## If you want to change X, open Y")[2]
    assert len(re.findall(r"^\| .* \| \[`", table, re.MULTILINE)) >= 20
