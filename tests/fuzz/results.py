"""Results folders that somebody changed: damaged and forged trials, records and derived files.

A folder is looked at with `bench status` and `bench leaderboard`, in this process. Where only derived files were
changed, the table is the one of the sound folder.
"""

import functools
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from hypothesis import strategies as st

from benchmark import schema
from benchmark.aggregation.page_tables import summarise
from benchmark.cli import main
from benchmark.reading.text import printable
from benchmark.results.store import Store
from benchmark.storage import MARK

from .harness import Refused, Surface, asked, place, readable, safe, wrong
from .sound_results import files, sound
from .tampering import CHANGES
from .values import edits, odd_json, odd_scalars, odd_texts, splices


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
    (what, name, change), built = case
    if isinstance(name, tuple):
        name = files(name[0])[name[1]]
    CHANGES[what](results, name, change)
    derived = what in ("json", "text", "flip", "place") and name.startswith("index")
    if what == "flip" and name.startswith("trials") and not name.endswith(MARK) and not _verified(results, name):
        wrong("verifying finds a flipped bit", name.rpartition("/")[2])
    try:
        _status(results, folder)
        if built or derived:
            _page(results, folder, images=not derived)
    except Refused as refused:
        if name != files("plans")[0]:
            wrong(f"what is sound is shown whatever lies beside it ({refused.place})", str(refused))
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
        readable(printable(f"problem {problem.name}: {problem.reason}\n"), "Store.scan")  # as the command prints it
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
        cause = done.exception.__context__ if done.exception is not None else None
        raise Refused(done.stderr, place(cause) if cause is not None else "")


_BUILT = st.sampled_from([True, False, False])
"""Whether the page is built too, which costs ten times as much as the rest."""
RECORDS_SURFACE = Surface("records", st.tuples(RECORDS, _BUILT), check, examples=15)
TRIALS_SURFACE = Surface("trials", st.tuples(TRIALS, _BUILT), check, examples=15)
