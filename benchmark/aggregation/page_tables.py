"""Writes the Parquet tables that the page is made of, from the results of trials; at any time, also mid-run."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmark import schema
from benchmark.aggregation import audits, comparisons, image_tables
from benchmark.aggregation.cached_rows import Aggregated
from benchmark.aggregation.picture_tables import MOST_BYTES, Pictures
from benchmark.aggregation.roc_curves import Curve
from benchmark.aggregation.suite_results import SuiteResults, method_of
from benchmark.metrics import LEADERBOARD_METRICS, STAGES, STRONGEST
from benchmark.planning.prices import bill, prices_of
from benchmark.reading.plausible_values import is_amount
from benchmark.reading.text import printable
from benchmark.results.older_versions import sentence
from benchmark.results.store import CorruptArtifact, Store
from benchmark.trials.trial import Row

_SCHEMAS = {
    "leaderboard": schema.LEADERBOARD,
    "results": schema.RESULTS,
    "ranks": schema.RANKS,
    "comparisons": schema.COMPARISONS,
    "suites": schema.SUITES,
    "status": schema.STATUS,
}

_MEASURED = ("space", "metric", "value", "low", "high", "n", "note")


def summarise(
    store: Store,
    site: Path,
    images: bool = True,
    tell: Callable[[CorruptArtifact | str], None] | None = None,
    keep: bool = True,
) -> pa.Table:
    """Write leaderboard, results, ranks, comparisons, suites, status, images, roc and pictures as Parquet into `site`.

    images: False leaves the pictures' tables empty. tell: of each trial of which a file is not what a run writes,
    which is passed over, and of pictures that are too many for a page, in words. keep: keep beside the results what
    was joined, for the next time. Returns the leaderboard, in the suites' order. Raises CorruptArtifact where nobody is
    told.
    """
    tables: dict[str, list[dict[str, Any]]] = {name: [] for name in _SCHEMAS}
    beside = [*schema.SHOWN.items(), ("images", schema.IMAGES), ("roc", schema.ROC)]
    shown: dict[str, list[pa.Table]] = {name: [columns.empty_table()] for name, columns in beside}
    for manifest in store.plans():
        results = SuiteResults(store, manifest)
        pictures = Pictures(results) if images else None
        found, parts = _suite(results, keep)
        for name, rows in found.items():
            tables[name] += rows
        for name, part in parts.items():
            shown[name] += part
        tables["status"] += results.status
        tables["suites"].append(_suite_row(results))
        for name, kept in pictures.tables().items() if pictures else ():
            shown[name] += kept
        for problem in results.problems:
            if tell is None:
                raise problem
            tell(problem)
        if pictures and pictures.left_out and tell:
            most = f"a page shows {MOST_BYTES / 2**20:.0f} MiB of a suite"
            tell(f"pictures of {pictures.left_out} trials of suite {results.name} are left out: {most}")
    site.mkdir(parents=True, exist_ok=True)
    written = {name: pa.Table.from_pylist(rows, schema=_SCHEMAS[name]) for name, rows in tables.items()}
    written |= {name: pa.concat_tables(parts) for name, parts in shown.items()}
    for name, table in written.items():
        pq.write_table(table, site / f"{name}.parquet", compression="zstd", write_page_checksum=True)
    return written["leaderboard"]


def _suite(results: SuiteResults, keep: bool) -> tuple[dict[str, list[dict[str, Any]]], dict[str, list[pa.Table]]]:
    """Rows of each table of `_SCHEMAS` that numbers are in; the suite's parts of the tables of images and curves.

    Passes over what is not what a run writes.
    """
    aggregated = Aggregated(results)
    while True:
        try:
            found = _joined(results, aggregated)
            break
        except CorruptArtifact as problem:
            results.pass_over(problem)
    if keep:
        aggregated.keep()
    return found


def _joined(
    results: SuiteResults, aggregated: Aggregated
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, list[pa.Table]]]:
    """As `_suite`. Raises CorruptArtifact."""
    controls = aggregated.controls()
    models: dict[str, list[Row]] = {}
    beside: dict[str, list[pa.Table]] = {"roc": [], "images": []}
    for name in (model["name"] for model in results.about["models"]):  # all of a model before the next: see `once`
        models[name] = aggregated.model(name)
        beside["roc"].append(_curves(results.name, name, aggregated.curves(name)))
        if (images := image_tables.image_table(results, name)) is not None:
            beside["images"].append(image_tables.rows(images, results.name, name))
    found = [
        {"suite": results.name, "model": done.model, "replica": done.replica}
        | _alone({"stage": done.stage, **{name: row[name] for name in _MEASURED}})
        | {"method": done.method, "trial_key": done.key}
        for done in results.done
        for row in done.rows
    ]
    controls += [pair for name, rows in models.items() for pair in audits.control_rows(name, rows)]
    found += [{"suite": results.name, "model": model, **row} for model, row in controls]
    passed = [row["value"] == 1.0 for _, row in controls if row["metric"] == "passed"]
    board = []
    for model in results.about["models"]:
        rows = models[model["name"]]
        found += [{"suite": results.name, "model": model["name"], **row} for row in rows]
        line = {"controls_passed": all(passed) if passed else None, **_leaderboard_row(results, model, rows)}
        board.append(line)
        found += _reasons(results, model["name"], line)
    compared = aggregated.comparisons(board)
    comparisons.front(board, compared)
    ranks = comparisons.places(board, compared)
    return {"results": found, "leaderboard": board, "comparisons": compared, "ranks": ranks}, beside


def _alone(row: dict[str, Any]) -> dict[str, Any]:
    """A row of one replica. What its reconstructions vary by says nothing of other trainings: no interval of them."""
    return row if row["stage"] != "leakage" else {**row, "low": None, "high": None}


def _curves(suite: str, model: str, curves: Mapping[str, Curve]) -> pa.Table:
    rows = [
        {"suite": suite, "model": model, "method": method, "fpr": fpr, "tpr": tpr}
        for method, points in curves.items()
        for fpr, tpr in points
    ]
    return pa.Table.from_pylist(rows, schema=schema.ROC)


def _leaderboard_row(results: SuiteResults, model: dict[str, Any], rows: list[Row]) -> dict[str, Any]:
    about = results.about
    primary = about["evasion"][0]
    made = [done.made for done in results.of_model(model["name"])]
    trained = [done.row("num_trained_on") for done in results.of(model["name"], "train").values()]
    declared = [model["num_members"]] if model.get("num_members") else []
    line: dict[str, Any] = {
        "suite": results.name,
        "suite_hash": results.hash,
        "model": model["name"],
        **{name: model[name] for name in ("architecture", "regime", "train_norm", "train_epsilon")},
        "num_replicas": sum(results.is_measured(replica) for replica in results.made(model["name"])),
        "num_members": next(
            iter(declared + [int(row["value"]) for row in trained if row is not None and is_amount(row["value"])]), None
        ),
        "checkpoint": model.get("checkpoint"),
        "eval_norm": primary["norm"],
        "eval_epsilon": primary["epsilon"],
        "primary_inversion": about["inversion"][0],
        "wall_s": sum(row["wall_s"] or 0.0 for row in made),
        "gpu_s": sum(row["gpu_s"] or 0.0 for row in made),
        **_spent(made, results),
        "git_commit": _listed(row["git_commit"] for row in made),
        "created_utc": max((row["created_utc"] for row in made), default=None),
    }
    index = {(row.get("stage"), row.get("method"), row.get("space", ""), row["metric"]): row for row in rows}
    for metric in LEADERBOARD_METRICS:
        row = index.get((metric.stage, method_of(metric, about), metric.space, metric.metric))
        if row is not None:
            line[metric.name] = row["value"]
            if metric.interval:
                line |= {f"{metric.name}_low": row.get("low"), f"{metric.name}_high": row.get("high")}
    masking = index.get(("masking", "", "", "masking_suspected"))
    line["masking_suspected"] = None if masking is None else masking["value"] == 1.0
    return line


def _spent(made: Iterable[Mapping[str, Any]], results: SuiteResults) -> dict[str, Any]:
    """What trials cost at the present prices of the suite; a trial that several models share is in none's bill."""
    found = bill(made, prices_of(results.about))
    return {"gpu_hours": found.gpu_hours, "cost": found.money, "currency": found.currency}


def _reasons(results: SuiteResults, model: str, line: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A row with a note for every empty cell of the leaderboard that has none yet."""
    for metric in sorted(LEADERBOARD_METRICS, key=lambda metric: STAGES.index(metric.stage)):
        if metric.name not in line:
            stage, method = metric.stage, method_of(metric, results.about)
            note = results.why_missing(model, stage, method)
            row = {"stage": stage, "method": method, "space": "", "metric": metric.name, "note": note}
            yield {"suite": results.name, "model": model, **row}


def _suite_row(results: SuiteResults) -> dict[str, Any]:
    about = results.about
    made = [done.made for done in results.done]
    states = {status["trial_key"]: status["state"] for status in results.status}
    return {
        "suite": results.name,
        "suite_hash": results.hash,
        "suite_path": about["path"],
        "yaml": about["yaml"],
        "included": [
            {name: text and printable(text) for name, text in file.items()} for file in about.get("included", [])
        ],
        "older": [printable(line) for line in (*dict.fromkeys(map(sentence, results.older)), *results.outdated)],
        "data": about["data"],
        "num_replicas": about["replicas"],
        "primary_evasion": about["evasion"][0]["label"],
        "primary_inversion": about["inversion"][0],
        "primary_membership": STRONGEST,
        "hardware": _listed(row["device"] for row in made),
        "versions": _listed(row["versions"] for row in made),
        "git_commit": _listed(row["git_commit"] for row in made),
        "num_trials": len(states),
        "num_done": sum(state == "done" for state in states.values()),
        "num_failed": sum(state == "failed" for state in states.values()),
        **_spent({done.key: done.made for done in results.done}.values(), results),
        "created_utc": max((row["created_utc"] for row in made), default=None),
    }


def _listed(values: Iterator[str | None]) -> str:
    return "; ".join(dict.fromkeys(value for value in values if value))
