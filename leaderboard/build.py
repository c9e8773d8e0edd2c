"""Builds the page from the Parquet tables of a site: index.html, a page for each model, leaderboard.csv.

The page works from `file://` with no request to anywhere. It may be built at any time, also during a run.
"""

import importlib.util
import os
import shutil
from pathlib import Path
from typing import Any

import jinja2
import pyarrow.compute as pc

from benchmark.schema import COMPARISONS, IMAGES, LEADERBOARD, RANKS, RESULTS, ROC, SHOWN, STATUS, SUITES
from leaderboard import learning_curves, memorization, pages, picture_scripts, picture_views, reasons
from leaderboard.beaten import attacks, beaten
from leaderboard.charts import scatter
from leaderboard.columns import BY_NAME, COLUMNS, CONSTRUCTS, duration, epsilon
from leaderboard.compared import compared
from leaderboard.markup import measured, why
from leaderboard.parquet_rows import group, parts, read, rows, script_json, write_csv

_HERE = Path(__file__).parent
STATIC = ("page.css", "page.js", "figure.js", "table.js", "index.js", "pictures.js")


def build(site: Path, *, images: bool = True) -> Path:
    """Write the page from the Parquet files in `site`; returns the path of its index.html.

    images: False leaves the pictures out. Raises ValueError naming the file that is missing or damaged.
    """
    tables = {
        name: read(site / f"{name}.parquet", schema, required=required)
        for name, schema, required in (
            ("leaderboard", LEADERBOARD, True),
            ("results", RESULTS, True),
            ("suites", SUITES, True),
            ("status", STATUS, False),
            ("images", IMAGES, False),
            ("roc", ROC, False),
            ("ranks", RANKS, False),
            ("comparisons", COMPARISONS, False),
            *((name, columns, False) for name, columns in SHOWN.items()),
        )
    }
    suites = _suites(site, tables)
    environment = _environment()
    _copy_static(site / "static")
    write_csv(tables["leaderboard"], site / "leaderboard.csv")
    (site / "models").mkdir(exist_ok=True)
    cells = [pages.cells(suite) for suite in suites]
    views = _views(tables, suites) if images else [[] for _ in suites]
    shutil.rmtree(site / "pictures", ignore_errors=True)
    kept = set()
    for suite, lines, made in zip(suites, cells, views, strict=True):
        shown = picture_scripts.scripts(suite.name, [row["model"] for row in suite.models], made, site / "pictures")
        single = _single_images(tables, suite, images)
        for i, name in enumerate(suite.slugs):
            _write(
                site / "models" / f"{name}.html", _model_page(environment, suite, i, lines, shown, single[i], images)
            )
            kept.add(f"{name}.html")
    for stale in (site / "models").glob("*.html"):
        if stale.name not in kept:
            stale.unlink()
    index = site / "index.html"
    _write(index, _index_page(environment, suites, cells, views))
    return index


def _suites(site: Path, tables: dict[str, Any]) -> list[pages.Suite]:
    named = ("leaderboard", "results", "suites", "status", "ranks", "comparisons")
    by_suite = {name: group(rows(tables[name]), "suite") for name in named}
    names = dict.fromkeys(key[0] for name in ("suites", "leaderboard") for key in by_suite[name])
    found = []
    for name in names:
        models = by_suite["leaderboard"].get((name,), [])
        seen = [row["model"] for row in models]
        if None in seen or len(set(seen)) < len(seen):
            raise ValueError(f"{site / 'leaderboard.parquet'}: suite {name!r} has a model without a name or twice")
        info = by_suite["suites"].get((name,), [dict.fromkeys(SUITES.names)])[-1]
        beside = (by_suite[table].get((name,), []) for table in ("results", "status", "ranks", "comparisons"))
        found.append(pages.Suite(name, info, models, *beside))
    return found


def _views(tables: dict[str, Any], suites: list[pages.Suite]) -> list[list[picture_views.View]]:
    """Suite by suite."""
    by_suite = {name: group(rows(tables[name]), "suite") for name in SHOWN}
    return [
        picture_views.views(
            {name: found.get((suite.name,), []) for name, found in by_suite.items()}, suite.primary["invert"]
        )
        for suite in suites
    ]


def _single_images(tables: dict[str, Any], suite: pages.Suite, images: bool) -> list[dict[str, Any]]:
    """Of each model of a suite: what is said of its single images, and the ROC curves."""
    own, roc, pictures = (
        tables[name].filter(pc.equal(tables[name]["suite"], suite.name)) for name in ("images", "roc", "pictures")
    )
    of_model, points = parts(own, "model"), group(rows(roc), "model")
    shown, primary = pictures if images else pictures.schema.empty_table(), suite.primary["invert"]
    found = []
    for name in (row["model"] for row in suite.models):
        table, results = of_model.get(name, own.schema.empty_table()), suite.results_of[name]
        memory = memorization.section(primary, table, results, suite.trials_of(name), shown)
        found.append({"memory": memory, "curves": memorization.curves(points.get((name,), []))})
    return found


def _strip(suite: pages.Suite, views: list[picture_views.View]) -> dict[str, Any] | None:
    if not views:
        return None
    models = [row["model"] for row in suite.models]
    first = views[0]
    shown = picture_scripts.strip(picture_views.across(views, models, first.method, first.replica))
    return shown and {**shown, "method": first.method, "replica": first.replica}


def _index_page(
    environment: jinja2.Environment,
    suites: list[pages.Suite],
    cells: list[list[list[pages.Cell]]],
    views: list[list[picture_views.View]],
) -> str:
    sections = [
        {
            "number": number,
            "suite": suite,
            "lines": list(zip(suite.models, suite.slugs, lines, strict=True)),
            "figure": scatter(suite.models, [f"models/{name}.html" for name in suite.slugs]),
            "strip": _strip(suite, made),
            "hrefs": _hrefs(suite),
            "controls": pages.controls(suite),
            "failures": pages.failures(suite.status),
            "failed_models": {row["model"] for row in suite.status if row["state"] == "failed"},
            "masking": {row["model"]: reasons.masking(suite.results_of[row["model"]]) for row in suite.models},
            "beaten": {row["model"]: beaten(row, suite.results_of[row["model"]]) for row in suite.models},
            "progress": pages.progress(suite.info),
            "command": pages.rerun(suite),
        }
        for number, (suite, lines, made) in enumerate(zip(suites, cells, views, strict=True), start=1)
    ]
    return environment.get_template("index.html").render(
        sections=sections, columns=COLUMNS, by_name=BY_NAME, constructs=CONSTRUCTS
    )


def _model_page(
    environment: jinja2.Environment,
    suite: pages.Suite,
    index: int,
    lines: list[list[pages.Cell]],
    shown: dict[str, list[dict[str, Any]]],
    single: dict[str, Any],
    images: bool,
) -> str:
    row = suite.models[index]
    results = suite.results_of[row["model"]]
    return environment.get_template("model.html").render(
        suite=suite,
        row=row,
        measures=pages.measures(suite, index, lines[index]),
        replicas=pages.replicas(results),
        compared=compared(suite.comparisons, row["model"]),
        learning=learning_curves.section(results),
        failures=pages.failures(suite.status_of[row["model"]]),
        command=pages.rerun(suite, row["model"]),
        trial_keys=sorted({r["trial_key"] for r in results if r["trial_key"]}),
        masking=reasons.masking(results) if row["masking_suspected"] else "",
        beaten=beaten(row, results),
        evasions=attacks(row, results),
        pictures={"model": row["model"], "hrefs": _hrefs(suite), "views": shown[row["model"]]},
        images=images,
        **single,
    )


def _hrefs(suite: pages.Suite) -> dict[str, str]:
    return {row["model"]: f"{name}.html" for row, name in zip(suite.models, suite.slugs, strict=True)}


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"measured": measured, "why": why}
    environment.filters["script_json"] = script_json
    environment.filters["epsilon"] = epsilon
    environment.filters["duration"] = duration
    return environment


def _copy_static(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name in STATIC:
        _write(folder / name, (_HERE / "static" / name).read_text(encoding="utf-8"))
    spec = importlib.util.find_spec("plotly")
    assert spec is not None and spec.origin is not None
    source, target = Path(spec.origin).parent / "package_data" / "plotly.min.js", folder / "plotly.min.js"
    if not target.is_file() or target.stat().st_size != source.stat().st_size:
        shutil.copyfile(source, target)


def _write(path: Path, text: str) -> None:
    """Replace the file in one step, so that a reader never sees half a page."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
