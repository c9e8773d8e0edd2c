"""A whole suite through `bench run`, on the GPU and on the CPU: are the conclusions the same?"""

import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from perf.gpu.bench_run import bench_run

_SHOWN = ("clean_accuracy: ", "robust_accuracy: ", "evaluator_accuracy: ", "in_rate: ", "membership_auc: ")
"""Columns of which every value is listed; of the others those that lie apart."""
_FLAGS = ("controls_passed", "masking_suspected", "pareto")
_SIGNIFICANT = 0.05
Row = dict[str, Any]
Table = list[Row]


def measure(device: str, tiny: bool) -> Iterator[Row]:
    path = "tests/suites/tiny.yaml" if tiny else "suites/quick.yaml"
    with tempfile.TemporaryDirectory() as folder:
        sites = []
        for where, name in ((device, "there"), ("cpu", "here")):
            more = ["--gpus-per-trial", "0.125"] if where != "cpu" else []
            ran = bench_run(Path(folder) / name, path, where, *more)
            sites.append(ran.site)
            yield {"what": f"{path}, wall seconds", name: ran.seconds}
        yield from compared(*sites)


def compared(there: Path, here: Path) -> Iterator[Row]:
    """The conclusions of two sites of one suite: first how many differ, of how many; then each that does.

    A conclusion is: a comparison of two models that is significant (p < 0.05 after Holm) with its sign; a model's
    places in a column; a flag of a model; a control that passed. Values count as apart where their 95% intervals are.
    """
    found = {
        "comparisons of two models": list(_comparisons(_table(there, "comparisons"), _table(here, "comparisons"))),
        "places of a model": list(_ranks(_table(there, "ranks"), _table(here, "ranks"))),
        "flags of a model": list(_flags(_table(there, "leaderboard"), _table(here, "leaderboard"))),
        "controls": list(_controls(_table(there, "results"), _table(here, "results"))),
        "values": list(_values(_table(there, "leaderboard"), _table(here, "leaderboard"))),
    }
    for kind, rows in found.items():
        differ = sum(row["verdict"] != "same" for row in rows)
        against = sum(row["verdict"] == "CONTRADICTS" for row in rows)
        yield {"what": f"{kind}: {differ} of {len(rows)} differ",
               "verdict": "CONTRADICTS" if against else "same" if not differ else "differ"}  # fmt: skip
    for rows in found.values():
        yield from (row for row in rows if row["verdict"] != "same" or row["what"].startswith(_SHOWN))


def _table(site: Path, name: str) -> Table:
    return pq.read_table(site / f"{name}.parquet").to_pylist()


def _pairs(there: Table, here: Table, *names: str) -> Iterator[tuple[str, Row, Row]]:
    """Rows of both with the same labels; one that is missing is empty."""
    one, other = ({tuple(row[name] for name in names): row for row in rows} for rows in (there, here))
    for labels in dict.fromkeys([*one, *other]):
        yield ", ".join(str(label) for label in labels if label), one.get(labels, {}), other.get(labels, {})


def _row(what: str, there: Any, here: Any, verdict: str = "") -> Row:
    return {"what": what, "there": there, "here": here, "verdict": verdict or ("same" if there == here else "DIFFERS")}


def _comparisons(there: Table, here: Table) -> Iterator[Row]:
    for what, one, other in _pairs(there, here, "metric", "model", "other"):
        signs = [_sign(row) for row in (one, other)]
        told = [{-1: "lower", 0: "not told apart", 1: "higher", None: "none"}[sign] for sign in signs]
        opposite = set(signs) == {-1, 1}
        yield _row(f"{what}", *told, verdict="CONTRADICTS" if opposite else "")


def _sign(row: Row) -> int | None:
    """Of a significant difference; 0 of another; None where there is none."""
    if row.get("p_holm") is None or row.get("difference") is None:
        return None
    return int(math.copysign(1, row["difference"])) if row["p_holm"] < _SIGNIFICANT and row["difference"] else 0


def _ranks(there: Table, here: Table) -> Iterator[Row]:
    """Places that have none in common contradict each other."""
    for what, one, other in _pairs(there, here, "metric", "model"):
        places = [(row.get("best"), row.get("worst")) for row in (one, other)]
        (best, worst), (least, most) = places
        apart = None not in (best, worst, least, most) and (best > most or least > worst)
        told = [f"{low} to {high}" if low != high else f"{low}" for low, high in places]
        yield _row(f"place: {what}", *told, verdict="CONTRADICTS" if apart else "")


def _flags(there: Table, here: Table) -> Iterator[Row]:
    for what, one, other in _pairs(there, here, "model"):
        for flag in _FLAGS:
            yield _row(f"{flag}: {what}", str(one.get(flag)), str(other.get(flag)))


def _controls(there: Table, here: Table) -> Iterator[Row]:
    passed = [[row for row in rows if row["metric"] == "passed"] for rows in (there, here)]
    for what, one, other in _pairs(*passed, "model", "stage", "method", "space"):
        yield _row(f"control: {what}", *({1.0: "passed", 0.0: "FAILED"}.get(row.get("value")) for row in (one, other)))


def _values(there: Table, here: Table) -> Iterator[Row]:
    columns = [name for name in there[0] if f"{name}_low" in there[0]] if there else []
    for what, one, other in _pairs(there, here, "model"):
        for column in columns:
            values = [row.get(column) for row in (one, other)]
            ends = [(row.get(f"{column}_low"), row.get(f"{column}_high")) for row in (one, other)]
            if None in values:
                verdict = "same" if values == [None, None] else "DIFFERS"
            elif None in (*ends[0], *ends[1]):
                verdict = "same"  # nothing is said of how far they may be apart
            else:
                verdict = "same" if ends[0][0] <= ends[1][1] and ends[1][0] <= ends[0][1] else "APART"
            yield _row(f"{column}: {what}", *values, verdict=verdict)
