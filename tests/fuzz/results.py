"""Results folders that somebody changed: damaged and forged trials, records and derived files.

A folder is looked at with `bench status` and `bench leaderboard`, in this process. Where only derived files were
changed, the table is the one of the sound folder.
"""

import functools
import hashlib
import io
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from click.testing import CliRunner
from hypothesis import strategies as st
from PIL import Image

from benchmark import schema
from benchmark.cli import main
from benchmark.compaction import compact
from benchmark.heartbeat import driver, machine
from benchmark.leases import Leases
from benchmark.seen import SIZE
from benchmark.stages.samples import SCHEMA
from benchmark.storage import MARK
from benchmark.store import Store
from benchmark.summary import summarise
from benchmark.trial import Row
from tests.board import Board, share

from .harness import Refused, Surface, asked, readable, safe, wrong
from .values import edited, edits, flipped, odd_json, odd_scalars, odd_texts, spliced, splices

MODELS = ("plain", "hardened")
SAMPLES = pa.Table.from_pylist(
    [
        {"class_id": c, "sample": s, "space": space, "metric": metric, "value": 0.25 + c / 2}
        for space, metric in (("", "evaluator_accuracy"), ("evaluator", "in_rate"), ("pixel", "class_mean_correlation"))
        for c in range(2)
        for s in range(2)
    ],
    schema=SCHEMA,
)
_SCORES = pa.table({"score": [0.1 * i for i in range(10)], "is_member": [i % 2 == 0 for i in range(10)]})
_INFERRED = [
    Row(metric="membership_auc", value=0.6, low=0.5, high=0.7, n=10),
    Row(metric="tpr_at_1pct_fpr", value=0.4, n=5),
    Row(metric="tpr_at_0_1pct_fpr", value=None, n=5, note="5 non-members cannot resolve it"),
]


@functools.cache
def sound() -> Path:
    """A small finished suite, with pictures, a failure, an index and kept aggregates."""
    root = Path(tempfile.mkdtemp(prefix="sound-results-"))
    board = Board(root, MODELS, {"currency": "EUR", "gpu_hour": {"default": 2.0}})
    for model in MODELS:
        board.predicted(model, [80, 82], [90, 91])
        board.evaded(model, "pgd-l2-1", [40, 42], [0.1, 0.5])
        board.evaded(model, "fgsm-l2-1", [50, 52], [0.2])
        for replica in range(2):
            board.add("leakage", model, replica, [share("in_rate", 1, 2)], "gradient", **_leaked())
            board.add("infer_membership", model, replica, _INFERRED, "loss_threshold", scores=_SCORES)
    missing = board.add("predict", "plain", 7, None)
    store = board.finish()
    store.write_failure(missing, "Traceback ...\nValueError: the loss is NaN", 2)
    compact(store)
    summarise(store, root.parent / f"{root.name}-site", images=False)
    now = {"record": "running", "pid": os.getpid(), "time": time.time() + 1e6, "trials": ["predict plain 7"]}
    store.storage.write(f"running/{driver()}.json", json.dumps(now).encode())
    store.storage.write(f"leases/{missing.key}.json", json.dumps({"record": "leases", "driver": driver()}).encode())
    store.storage.write("index/0123456789abcdef.seen", bytes(3 * SIZE))
    return root


def _leaked() -> dict[str, pa.Table]:
    """The tables of one inversion attack: samples, and what the page shows of them."""
    written = io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(written, "PNG")
    values: dict[str, Any] = {"image_png": written.getvalue(), "class_name": "cat", "space": "target", "side": "in"}
    tables = {"samples": SAMPLES}
    for name in schema.SHOWN:
        columns = schema.unlabelled(name)
        lines = [{field.name: values.get(field.name, _plain(field)) for field in columns} for _ in range(2)]
        tables[name] = pa.Table.from_pylist(lines, schema=columns)
    return tables


def _plain(field: Any) -> Any:
    if pa.types.is_boolean(field.type):
        return True
    return 0 if pa.types.is_integer(field.type) else 0.5 if pa.types.is_floating(field.type) else "x"


@functools.cache
def files(kind: str = "") -> tuple[str, ...]:
    """Relative names, in an order that is the same in every run."""
    found = (path for path in sound().rglob("*") if path.is_file())
    names = sorted(str(path.relative_to(sound())) for path in found)
    return tuple(name for name in names if name.startswith(kind) and not name.startswith("running"))


@functools.cache
def _board() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as site:
        copy = shutil.copytree(sound(), Path(site) / "results")
        return list(summarise(Store(copy), Path(site) / "site", images=False).to_pylist())


_odd_times = st.one_of(odd_scalars(), st.floats(-1e12, 1e12))
_running = st.fixed_dictionaries(
    {
        "record": st.just("running"),
        "time": _odd_times,
        "trials": st.one_of(st.lists(odd_texts(), max_size=3), odd_json()),
    },
    optional={"pid": odd_json()},
)
_lease = st.fixed_dictionaries({"record": st.just("leases"), "driver": st.one_of(odd_texts(), odd_json())})
_failure = st.fixed_dictionaries(
    {"record": st.just("failures"), "key": st.just("KEY"), "traceback": st.one_of(odd_texts(), odd_json())},
    optional={name: odd_json() for name in ("attempts", "stage", "method", "model", "replica", "created_utc")},
)
_column = st.one_of(
    st.tuples(st.just("cells"), st.lists(odd_scalars(), min_size=1, max_size=3)),
    st.tuples(
        st.just("type"),
        st.sampled_from(["int64", "double", "string", "bool", "binary", "list", "null", "dictionary", "date"]),
    ),
    st.tuples(st.just("drop"), st.none()),
    st.tuples(st.just("rename"), odd_texts()),
    st.tuples(st.just("double"), st.none()),
)
_tables = ("rows", "samples", "curve", "scores", *schema.SHOWN)
_columns = sorted(
    {"metric", "value", *schema.ROWS.names, *(n for name in schema.SHOWN for n in schema.unlabelled(name).names)}
)
_table_edit = st.fixed_dictionaries(
    {"table": st.sampled_from(_tables), "changes": st.dictionaries(st.sampled_from(_columns), _column, max_size=3)},
    optional={"rows": st.sampled_from([0, 1, 100, 100_000])},
)


Named = tuple[str, int]
"""A file by its kind and number: names hold hashes of times."""


def _some(*kinds: str) -> st.SearchStrategy[Named]:
    return st.one_of(*(st.tuples(st.just(kind), st.integers(0, len(files(kind)) - 1)) for kind in kinds))


def _json_edits(kind: str) -> st.SearchStrategy[Any]:
    """Edits of the record of a kind; of a trial's mark, for `trials`."""
    number = next(i for i, name in enumerate(files(kind)) if name.endswith(".json"))
    value = json.loads((sound() / files(kind)[number]).read_text())
    return st.tuples(st.just("json"), st.just((kind, number)), edits(_shortened(value), odd_json()))


def _shortened(value: Any) -> Any:
    """Whose places are those of a record's first entries: all are alike, and the top would be drawn too rarely."""
    if isinstance(value, list):
        return [_shortened(inner) for inner in value[:2]]
    return {key: _shortened(inner) for key, inner in value.items()} if isinstance(value, dict) else value


RECORDS = st.deferred(
    lambda: st.one_of(
        *(_json_edits(kind) for kind in ("plans", "plans", "failures", "index")),
        st.tuples(st.just("text"), _some("plans", "failures", "index"), _splices),
        st.tuples(st.just("flip"), _some("plans", "index", "index"), _flips),
        st.tuples(st.just("running"), st.sampled_from(["", "x", "-0", "-1", "-" + "9" * 50, "-a\x1b[31m"]), _running),
        st.tuples(st.just("lease"), st.just(""), _lease),
        st.tuples(st.just("failure"), st.just(""), _failure),
        st.tuples(st.just("plan"), st.just(""), odd_json()),
        st.tuples(st.just("place"), st.sampled_from(_PLACES), st.sampled_from(["file", "folder", "link", "pipe"])),
    )
)
TRIALS = st.deferred(
    lambda: st.one_of(
        _json_edits("trials"),
        st.tuples(st.just("text"), _some("trials"), _splices),
        st.tuples(st.just("flip"), _some("trials"), _flips),
        st.tuples(st.just("forged"), _some("trials"), _splices),
        st.tuples(st.just("table"), st.integers(0, 40), _table_edit),
        st.tuples(st.just("table"), st.integers(0, 40), _table_edit),
        st.tuples(st.just("table"), st.integers(0, 40), _table_edit),
    )
)
_splices = splices(
    [b"null", b"1e999", b"-1", b'"\\ud800"', b"[" * 5000, b"{", b"}", b"PAR1", b"\x1b[2J", b"9" * 400, b"NaN"]
)
_flips = st.tuples(st.floats(0, 1), st.integers(0, 7))
_PLACES = (
    "plans/x.json", "failures/x.json", "running/x.json", "leases/x.json", "index/0123456789abcdef.parquet",
    "index/aggregates-x.json", "trials/ab", "trials/zz", "trials/x", "set_aside", "progress", "files", "plans/.x", "x",
    "trials/ab/" + "ab" * 32,
)  # fmt: skip


def check(case: Any, folder: Path) -> None:
    results = folder / "results"
    shutil.copytree(sound(), results, copy_function=shutil.copy2)
    what, name, change = case
    if isinstance(name, tuple):
        name = files(name[0])[name[1]]
    _CHANGES[what](results, name, change)
    derived = what in ("json", "text", "flip", "place") and name.startswith("index")
    if what == "flip" and name.startswith("trials") and not name.endswith(MARK) and not _verified(results, name):
        wrong("verifying finds a flipped bit", name.rpartition("/")[2])
    try:
        _status(results, folder)
        _page(results, folder, images=not derived)
    except Refused as refused:
        if name != files("plans")[0]:
            wrong("what is sound is shown whatever lies beside it", str(refused))
        raise
    if derived or what in ("running", "lease"):
        board = summarise(Store(results), folder / "again", images=False).to_pylist()
        if board != _board():
            wrong("the table does not depend on what is derived from the results", f"{board}\n{_board()}")


def _verified(results: Path, name: str) -> str:
    return Store(results).verify(name.split("/")[2])


def _status(results: Path, folder: Path) -> None:
    store = Store(results)
    _, problems = asked(store.scan)
    for problem in problems:
        readable(f"problem {problem.name}: {problem.reason}\n".replace("\r", " "), "Store.scan")
    _commanded(folder, "status", "--results", str(results))


def _page(results: Path, folder: Path, images: bool) -> None:
    more = () if images else ("--no-images",)
    _commanded(folder, "leaderboard", "--results", str(results), "--site", str(folder / "site"), *more)


def _commanded(folder: Path, *arguments: str) -> None:
    done = CliRunner().invoke(main, arguments)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    if done.exit_code not in (0, 1, 2) or "Traceback (most" in done.stderr:
        wrong(f"bench {arguments[0]} ends with 0, 1 or 2 and no traceback", f"{done.exit_code}\n{done.output[-2000:]}")
    safe(done.output, f"bench {arguments[0]}")
    if done.exit_code == 2:
        readable(done.stderr, f"bench {arguments[0]}")
        raise Refused(done.stderr)


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


_CHANGES: dict[str, Callable[[Path, Any, Any], None]] = {
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


RECORDS_SURFACE = Surface("records", RECORDS, check, examples=8)
TRIALS_SURFACE = Surface("trials", TRIALS, check, examples=8)
