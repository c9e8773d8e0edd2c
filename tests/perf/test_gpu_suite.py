"""Whether two sites come to the same conclusions: hand-made sites that differ in one thing each."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from perf.gpu.suite import compared

SITE: dict[str, list[dict[str, Any]]] = {
    "comparisons": [{"metric": "in_rate", "model": "a", "other": "b", "difference": 0.2, "p_holm": 0.01}],
    "ranks": [{"metric": "in_rate", "model": "a", "best": 1, "worst": 1}],
    "leaderboard": [
        {"model": "a", "controls_passed": True, "masking_suspected": False, "pareto": True, "gap": 0.1, "gap_low": 0.0,
         "gap_high": 0.2, "in_rate": 0.5, "in_rate_low": 0.4, "in_rate_high": 0.6}
    ],
    "results": [
        {"model": "memoriser", "stage": "control", "method": "m", "space": "target", "metric": "passed", "value": 1.0}
    ],
}  # fmt: skip


def site(folder: Path, table: str = "ranks", **changed: Any) -> Path:
    folder.mkdir()
    for name, rows in SITE.items():
        found = [{**row, **(changed if name == table else {})} for row in rows]
        pq.write_table(pa.Table.from_pylist(found), folder / f"{name}.parquet")
    return folder


def test_equal_sites_differ_in_nothing_and_show_the_headline(tmp_path: Path) -> None:
    rows = list(compared(site(tmp_path / "one"), site(tmp_path / "other")))
    assert [row["what"] for row in rows[:5]] == [
        "comparisons of two models: 0 of 1 differ",
        "places of a model: 0 of 1 differ",
        "flags of a model: 0 of 3 differ",
        "controls: 0 of 1 differ",
        "values: 0 of 2 differ",
    ]
    assert rows[5:] == [{"what": "in_rate: a", "there": 0.5, "here": 0.5, "verdict": "same"}]


@pytest.mark.parametrize(
    ("table", "changed", "expected"),
    [
        ("comparisons", {"difference": -0.2}, ("in_rate, a, b", "higher", "lower", "CONTRADICTS")),
        ("comparisons", {"p_holm": 0.2}, ("in_rate, a, b", "higher", "not told apart", "DIFFERS")),
        ("ranks", {"best": 2, "worst": 3}, ("place: in_rate, a", "1", "2 to 3", "CONTRADICTS")),
        ("ranks", {"worst": 2}, ("place: in_rate, a", "1", "1 to 2", "DIFFERS")),
        ("leaderboard", {"masking_suspected": True}, ("masking_suspected: a", "False", "True", "DIFFERS")),
        ("leaderboard", {"gap": 0.9, "gap_low": 0.8, "gap_high": 1.0}, ("gap: a", 0.1, 0.9, "APART")),
        ("leaderboard", {"gap": 0.3, "gap_low": 0.15, "gap_high": 0.4}, None),
        ("results", {"value": 0.0}, ("control: memoriser, control, m, target", "passed", "FAILED", "DIFFERS")),
    ],
)
def test_each_kind_of_difference_is_listed(
    tmp_path: Path, table: str, changed: dict[str, Any], expected: tuple[Any, ...] | None
) -> None:
    rows = list(compared(site(tmp_path / "one"), site(tmp_path / "other", table, **changed)))
    listed = [tuple(row.values()) for row in rows[5:] if row["verdict"] != "same"]
    assert listed == ([expected] if expected else [])
    totals = [row["verdict"] for row in rows[:5] if row["verdict"] != "same"]
    assert totals == ([] if expected is None else ["CONTRADICTS" if expected[3] == "CONTRADICTS" else "differ"])
