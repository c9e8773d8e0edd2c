"""The page without a browser: what is written, what is escaped, what bad input does."""

import csv
import html
import json
import math
import re
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from site_fixture import FAILED, FAILURE, HOSTILE, MODELS, NO_TPR, PGD, RUNNING, SUITE

from benchmark import schema
from leaderboard.build import build
from leaderboard.parquet_rows import read, script_json
from leaderboard.serve import server
from leaderboard.slugs import slug


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def rewrite(site: Path, name: str, change) -> None:
    path = site / f"{name}.parquet"
    table = pq.read_table(path)
    pq.write_table(pa.Table.from_pylist(change(table.to_pylist()), schema=table.schema), path)


def test_build_writes_every_page_and_returns_the_index(empty_site):
    assert build(empty_site) == empty_site / "index.html"
    expected = {slug(SUITE, m) for m in MODELS} | {slug(RUNNING, m) for m in ("resnet18", "vgg16")}
    assert {p.stem for p in (empty_site / "models").iterdir()} == expected
    assert (empty_site / "static" / "plotly.min.js").stat().st_size > 1_000_000


def test_every_link_leads_to_a_file(site):
    for page in [site / "index.html", *(site / "models").glob("*.html")]:
        for target in re.findall(r'(?:href|src)="([^"]+)"', text(page)):
            target = html.unescape(target)
            if not target.startswith(("#", "data:", "https://arxiv.org/")):
                assert (page.parent / target.partition("#")[0]).is_file(), target


def test_rebuild_drops_the_page_of_a_model_that_is_gone(empty_site):
    build(empty_site)
    rewrite(empty_site, "leaderboard", lambda rows: [r for r in rows if r["model"] != "small_vgg"])
    build(empty_site)
    assert not (empty_site / "models" / f"{slug(SUITE, 'small_vgg')}.html").exists()
    assert (empty_site / "models" / f"{slug(SUITE, 'small_resnet')}.html").exists()


def test_csv_has_the_schema_and_no_nan(site):
    with (site / "leaderboard.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == schema.LEADERBOARD.names
    assert len(rows) == 1 + len(MODELS) + 2
    by_model = {row[1]: dict(zip(rows[0], row, strict=True)) for row in rows[1:]}
    assert float(by_model["small_resnet_pgd_at"]["robust_accuracy_low"]) == pytest.approx(0.686)
    assert by_model["small_vgg"]["exposure_gini"] == "", "NaN in the Parquet file"
    assert by_model[HOSTILE]["suite"] == SUITE


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_empty_cells(empty_site, bad):
    numbers = {f.name for f in schema.LEADERBOARD if pa.types.is_floating(f.type)}
    rewrite(empty_site, "leaderboard", lambda rows: [r | dict.fromkeys(numbers, bad) for r in rows])
    rewrite(empty_site, "results", lambda rows: [r | dict.fromkeys(("value", "low", "high"), bad) for r in rows])
    build(empty_site)
    for page in [empty_site / "index.html", *(empty_site / "models").glob("*.html")]:
        assert not re.search(r"""[>"\[, ](nan|NaN|-?inf|-?Infinity|None)[<"\],%]""", text(page))


def test_hostile_name_is_escaped_in_every_file(site):
    for page in [site / "index.html", *(site / "models").glob("*.html")]:
        assert "<img src=x" not in text(page) and "<script>alert" not in text(page)
        assert html.escape(HOSTILE) in text(page) or page.stem != slug(SUITE, HOSTILE)


def test_policy_allows_no_remote_origin_and_no_inline_script(site):
    page = text(site / "index.html")
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1])
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == "'self' file:"
    assert not re.search(r"https?:|\*|unsafe-eval", policy)
    tags = re.findall(r"<[a-z][^<>]*>", re.sub(r'"[^"]*"', '""', page))
    assert len(tags) > 100 and not [tag for tag in tags if re.search(r"\son[a-z]+\s*=", tag)]
    scripts = re.findall(r"<script([^>]*)>", page)
    assert all('src="static/' in s or 'type="application/json"' in s for s in scripts)


def test_what_it_cost_is_on_the_page(site):
    page = text(site / "index.html")
    assert page.count("1,234.50 USD") == len(MODELS) - 1
    assert "the suite has no prices, or none for one of the devices" in page
    assert "<dt>cost of all trials</dt><dd>4321.00 USD</dd>" in page and "<dd>9.25</dd>" in page


def test_script_json_survives_a_closing_tag():
    value = {"a": "</script><!--\u2028\u2029&", "b": [1.5, None]}
    assert not set(script_json(value)) & set("<>&\u2028\u2029")
    assert json.loads(script_json(value)) == value
    with pytest.raises(ValueError, match="JSON"):
        script_json(math.nan)


@pytest.mark.parametrize("left_out", ["gallery", "status"])
def test_optional_files_may_be_missing(empty_site, left_out):
    (empty_site / f"{left_out}.parquet").unlink()
    build(empty_site)
    assert "No reconstruction" in text(empty_site / "models" / f"{slug(SUITE, 'small_vgg')}.html")


def test_no_rows_at_all_is_a_page(tmp_path):
    for name in ("leaderboard", "results", "suites"):
        pq.write_table(getattr(schema, name.upper()).empty_table(), tmp_path / f"{name}.parquet")
    assert "No suite has been run yet" in text(build(tmp_path))


def test_suite_without_models_or_info_is_a_section(empty_site):
    rewrite(empty_site, "suites", lambda rows: [r for r in rows if r["suite"] != SUITE])
    rewrite(empty_site, "leaderboard", lambda rows: [r for r in rows if r["suite"] != RUNNING])
    page = text(build(empty_site))
    assert page.count('<section class="suite"') == 2
    assert "No model of this suite has a row yet" in page


def test_without_images_no_page_holds_one(empty_site):
    build(empty_site, images=False)
    assert "data:image" not in text(empty_site / "index.html") and list((empty_site / "pictures").iterdir()) == []
    for page in (empty_site / "models").iterdir():
        assert "built without images" in text(page)


@pytest.mark.parametrize("name", ["leaderboard", "results", "suites", "status", *schema.SHOWN])
@pytest.mark.parametrize("damage", ["truncated", "text", "empty", "foreign", "wrong type"])
def test_damaged_file_is_one_clear_error(empty_site, name, damage):
    path = empty_site / f"{name}.parquet"
    whole = path.read_bytes()
    if damage == "foreign":
        pq.write_table(pa.table({"city": ["Ulm"]}), path)
    elif damage == "wrong type":
        pq.write_table(pa.table({"suite": [[1, 2]], "model": ["m"]}), path)
    else:
        path.write_bytes({"truncated": whole[: len(whole) // 2], "text": b"PAR1 no PAR1", "empty": b""}[damage])
    with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
        build(empty_site)
    assert "\n" not in str(caught.value)


def test_names_that_are_no_utf8_are_an_error(tmp_path):
    names = pa.array([b"\xff\xfe"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"suite": names, "model": names}), tmp_path / "leaderboard.parquet")
    with pytest.raises(ValueError, match="leaderboard.parquet"):
        read(tmp_path / "leaderboard.parquet", schema.LEADERBOARD)


@pytest.mark.parametrize("name", ["leaderboard", "results", "suites"])
def test_missing_file_is_one_clear_error(empty_site, name):
    (empty_site / f"{name}.parquet").unlink()
    with pytest.raises(ValueError, match=rf"{name}\.parquet: no such file"):
        build(empty_site)


@pytest.mark.parametrize("change", [lambda rows: rows + rows[:1], lambda rows: [r | {"model": None} for r in rows]])
def test_models_twice_or_without_a_name_are_refused(empty_site, change):
    rewrite(empty_site, "leaderboard", change)
    with pytest.raises(ValueError, match="without a name or twice"):
        build(empty_site)


def test_page_says_why_cells_are_empty(site):
    page = html.unescape(text(site / "index.html"))
    assert f"evade ({PGD}) of replica 0 failed: {FAILURE}" in page
    assert f"empty: {NO_TPR}" in page
    assert "not run yet: 4 of 4" not in page and "not run yet: 2 of 2 trials are missing" in page
    assert FAILURE in text(site / "models" / f"{slug(SUITE, FAILED)}.html")


def test_importing_the_page_loads_no_heavy_library():
    code = "import sys, leaderboard.build; print(*sorted({'torch', 'pandas', 'plotly', 'ray'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_server_listens_on_this_machine_only(site):
    with server(site, 0) as running:
        host, port = running.server_address[:2]
        assert host == "127.0.0.1"
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/index.html", timeout=10) as answer:
                assert b"Robust or Private?" in answer.read()
            with pytest.raises(ValueError, match=f"port: {port}"):
                server(site, port)
        finally:
            running.shutdown()
            thread.join()
    with pytest.raises(ValueError, match="port: 70000"):
        server(site, 70000)
