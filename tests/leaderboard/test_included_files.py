"""Files of the user's own methods: in the plan's record, in the command that reproduces, and to be read on the page."""

import html
import shlex
from pathlib import Path
from typing import Any

import command
import pytest
from site_fixture import HOSTILE, MODELS, SUITE

from benchmark.aggregation.page_tables import summarise
from benchmark.planning import suite_description
from benchmark.planning.check import prepare
from benchmark.planning.suite_description_shape import is_about
from benchmark.reading.plausible_values import MOST_INCLUDED
from benchmark.results.plan_record import unpack
from benchmark.results.store import Store
from benchmark.user_files import include
from leaderboard import pages
from leaderboard.build import build
from leaderboard.slugs import slug

MINE = (
    "from benchmark.registry import register\n"
    "from benchmark.regimes.standard import Standard\n\n"
    "class Mine(Standard):\n"
    '    "<script>alert(3)</script> \u202e"\n\n'
    "register('regime', 'mine', Mine)\n"
)


@pytest.mark.usefixtures("registered")
def test_an_included_file_reaches_the_page(tmp_path: Path) -> None:
    file = tmp_path / "my own.py"
    file.write_text(MINE)
    made = prepare(str(command.TINY), None, [str(file)])
    store = Store(str(tmp_path / "results"))
    store.writable()
    store.write_plan(made.plan, made.about)
    (plan,) = store.plans()
    shown = MINE.replace("\u202e", "\\u202e")
    (kept,) = plan["about"]["included"]
    assert kept == {"path": str(file), "sha256": include.source(str(file)).sha256, "text": shown}
    summarise(store, tmp_path / "site")
    text = build(tmp_path / "site").read_text()
    told = f"bench run {command.TINY} --include {shlex.quote(str(file))}"
    assert html.escape(told, quote=True).replace("&#x27;", "&#39;") in text
    assert "&lt;script&gt;alert(3)" in text and "<script>alert(3)" not in text and kept["sha256"] in text


def test_commands_include_and_pages_escape(site: Path) -> None:
    text = (site / "index.html").read_text()
    assert "bench run suites/quick.yaml --include &#39;my methods/own.py&#39; --include " in text
    assert "Too long to be kept here." in text and "cd" * 32 in text
    assert HOSTILE not in text and "<script>alert(2)" not in text and "</details><script>" not in text
    model = (site / "models" / f"{slug(SUITE, next(iter(MODELS)))}.html").read_text()
    assert "--include &#39;my methods/own.py&#39;" in model
    older = f"Results of version 1 of {html.escape(HOSTILE)} are there; this is version 2: run it again"
    assert older in text


def test_a_suite_without_included_files_has_none_in_its_command() -> None:
    suite = pages.Suite("plain", {"suite_path": "s.yaml", "included": None}, [], [], [], [], [])
    assert pages.rerun(suite) == "bench run s.yaml"


def about(**more: Any) -> dict[str, Any]:
    model = {"name": "m", "architecture": "a", "regime": "r", "train_norm": None, "train_epsilon": None}
    attack = {"label": "pgd", "kind": "pgd", "norm": "l2", "epsilon": 1.0}
    return {"yaml": "", "path": "s.yaml", "data": "d", "replicas": 2, "models": [model], "evasion": [attack],
            "inversion": ["gradient"], "membership": ["loss_threshold"], **more}  # fmt: skip


FILE = {"path": "a.py", "sha256": "0" * 64, "text": "x = 1"}
LINE = {"stage": "evade", "label": "pgd", "method": "pgd", "version": 1, "now": 2}


@pytest.mark.parametrize(
    "more", [{}, {"included": []}, {"included": [FILE, {**FILE, "text": None}]}, {"older": [LINE]}]
)
def test_records_with_and_without_included_files(more: dict[str, Any]) -> None:
    assert is_about(about(**more))


@pytest.mark.parametrize(
    "more",
    [
        {"included": [{**FILE, "text": "x" * (MOST_INCLUDED // 2 + 1)}] * 2},
        {"included": [FILE] * 257},
        {"included": [{**FILE, "sha256": "0" * 63 + "G"}]},
        {"included": [{**FILE, "path": "p" * 5000}]},
        {"included": {"a.py": "x"}},
        {"older": [{**LINE, "version": 2**70}]},
        {"older": [{**LINE, "method": "m" * 10**6}]},
    ],
    ids=range(7),
)
def test_records_that_no_run_writes(more: dict[str, Any]) -> None:
    assert not is_about(about(**more))


def test_long_and_odd_files_keep_name_and_hash() -> None:
    files = {
        "long.py": include.Source("/long.py", b"#" * (MOST_INCLUDED + 1)),
        "odd\udcff.py": include.Source("/odd.py", b"\xef\xbb\xbfx = '\xff'\r\n"),
    }
    long, odd = suite_description._included(files)
    assert (long["text"], long["sha256"]) == (None, files["long.py"].sha256)
    assert (odd["path"], odd["text"]) == ("odd\\udcff.py", "x = '\ufffd'\n")
    assert is_about(about(included=[long, odd]))


def test_plans_of_before_are_read() -> None:
    record = {"suite": "s", "suite_hash": "", "about": about(), "nodes": []}
    assert "included" not in unpack(record)["about"] and is_about(about())
