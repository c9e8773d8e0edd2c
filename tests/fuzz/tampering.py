"""Changes to a results folder: damage, forgery, and files of no run's making."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmark.results.store import Store
from benchmark.running.heartbeat import driver, machine
from benchmark.running.leases import Leases

from .harness import asked
from .values import edited, flipped, spliced


def _json(results: Path, name: str, change: Any) -> None:
    value = edited(json.loads((results / name).read_text()), change)
    (results / name).write_text(_written(value))


def _written(value: Any) -> str:
    """As the fault was written by whatever wrote it: infinite numbers, and halves of surrogates in \\u."""
    try:
        return json.dumps(value)
    except (TypeError, ValueError):
        return "null"


def _text(results: Path, name: str, change: Any) -> None:
    (results / name).write_bytes(spliced((results / name).read_bytes(), change))


def _flip(results: Path, name: str, change: tuple[float, int]) -> None:
    (results / name).write_bytes(flipped((results / name).read_bytes(), *change))


def _forged(results: Path, name: str, change: Any) -> None:
    content = spliced((results / name).read_bytes(), change)
    forge(results / name, content)


def forge(path: Path, content: bytes) -> None:
    """Replace a file of a trial, and its size and hash in the mark."""
    path.write_bytes(content)
    mark = path.with_name("trial.json")
    if path != mark:
        value = json.loads(mark.read_text())
        value["files"][path.name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        mark.write_text(json.dumps(value))


def _table(results: Path, number: int, change: Mapping[str, Any]) -> None:
    """Another table in place of one of a trial, with the right hash."""
    found = sorted(results.glob(f"trials/*/*/{change['table']}.parquet"))
    path = found[number % len(found)]
    table = pq.ParquetFile(path).read()
    if "rows" in change:
        table = pa.concat_tables([table] * max(1, change["rows"] // max(1, len(table)))).slice(0, change["rows"])
    for column, (how, value) in change["changes"].items():
        if column in table.column_names:
            table = _changed(table, column, how, value)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    forge(path, bytes(sink.getvalue().to_pybytes()))


def _changed(table: pa.Table, column: str, how: str, value: Any) -> pa.Table:
    at = table.column_names.index(column)
    if how == "drop":
        return table.drop_columns([column])
    if how == "double":
        return table.append_column(column, table[column])
    try:
        if how == "rename":
            return table.rename_columns([value if i == at else name for i, name in enumerate(table.column_names)])
        if how == "cells":
            cells = [value[i % len(value)] for i in range(len(table))]
            try:  # of the column's own type, if that can be
                return table.set_column(at, column, pa.array(cells, table[column].type))
            except (pa.ArrowException, TypeError, ValueError, OverflowError):
                return table.set_column(at, column, pa.array(cells))
        kinds = {
            "list": pa.list_(pa.int64()), "null": pa.null(), "date": pa.date32(), "bool": pa.bool_(),
            "binary": pa.binary(), "dictionary": pa.dictionary(pa.int8(), pa.string()),
        }  # fmt: skip
        kind = kinds.get(value) or pa.type_for_alias(value)
        return table.set_column(at, column, pa.array([None] * len(table), kind))
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return table


def _running_file(results: Path, name: str, change: Any) -> None:
    (results / "running" / f"{machine() if name.startswith('-') else ''}{name or driver()}.json").write_text(
        _written(change)
    )


def _lease_file(results: Path, _: str, change: Any) -> None:
    path = next((results / "leases").iterdir())
    path.write_text(_written(change))
    leases = Leases(Store(results).storage, "another-1")
    asked(leases.take, path.stem)
    asked(leases.release, path.stem)


def _failure_file(results: Path, _: str, change: Any) -> None:
    path = next((results / "failures").iterdir())
    path.write_text(_written({**change, "key": path.stem}))


def _place(results: Path, name: str, what: str) -> None:
    path = results / name
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    if what == "file":
        path.write_bytes(b"x")
    elif what == "folder":
        (path / "inner").mkdir(parents=True)
    elif what == "link":
        path.symlink_to(results.parent)
    else:
        os.mkfifo(path)


CHANGES: dict[str, Callable[[Path, Any, Any], None]] = {
    "json": _json,
    "text": _text,
    "flip": _flip,
    "forged": _forged,
    "table": _table,
    "running": _running_file,
    "lease": _lease_file,
    "failure": _failure_file,
    "plan": lambda results, _, change: _plan_file(results, change),
    "place": _place,
}


def _plan_file(results: Path, change: Any) -> None:
    (results / "plans" / "x.json").write_text(_written(change))
