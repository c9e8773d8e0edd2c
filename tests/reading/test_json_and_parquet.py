"""JSON and Parquet of an unknown hand: within bounds, or one line."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmark.reading.json_and_parquet import TooMuch, parse, parse_encodable, read_parquet

STRANGE = {
    "an integer of 71 bits": b"[1180591620717411303424]",
    "a negative one": b'{"a":-9223372036854775809}',
    "of 400 digits": b"[1" + b"0" * 400 + b"]",
    "of more digits than Python converts": b"[" + b"9" * 5000 + b"]",
    "what becomes infinite": b"[1e999]",
    "with many digits too": b"[1" + b"0" * 400 + b".5]",
    "no number": b'{"a": NaN}',
    "minus infinity": b"[-Infinity]",
    "a key twice": b'{"a": 1, "b": 2, "a": 3}',
    "a key twice, deep": b'[{"x": {"a": 1, "a": 1}}]',
    "nested without end": b"[" * 100_000 + b"]" * 100_000,
    "a million objects": b"[" + b"{}," * 1_000_000 + b"{}]",
    "texts without number": b"[" + b'"",' * 6_100_000 + b'""]',
    "no UTF-8": b'["\xff"]',
}


@pytest.mark.parametrize("name", STRANGE)
def test_json_that_no_run_writes_is_refused(name: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse(STRANGE[name])
    assert len(str(caught.value).splitlines()) == 1 and len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "value",
    [2**63 - 1, -(2**63), 0.1, 1e-300, 1.7976931348623157e308, "1" * 64, ["8" * 400, 3], {"a": {"b": None, "c": True}}],
)
def test_json_that_runs_write_is_read(value: Any) -> None:
    assert parse(json.dumps([value]).encode()) == [value]


def test_halves_of_surrogate_pairs_become_text() -> None:
    text = json.dumps({"a\ud800": ["b\udcff", "\N{SNOWMAN}", 3]}).encode()
    assert parse_encodable(text) == {"a\\ud800": ["b\\udcff", "\N{SNOWMAN}", 3]}
    assert parse(text) == {"a\ud800": ["b\udcff", "\N{SNOWMAN}", 3]}


def _parquet(columns: dict[str, Any], **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, **{"compression": "zstd", **options})
    return bytes(sink.getvalue().to_pybytes())


NOTE = pa.schema([("note", pa.string())])


def test_many_rows_in_few_bytes_are_not_unpacked() -> None:
    content = _parquet({"a": np.zeros(30_000_000, bool)}, row_group_size=30_000_000)
    assert len(content) < 100_000
    begin = time.process_time()
    with pytest.raises(TooMuch, match="rows|values"):
        read_parquet(content, 1_000_000, 2**30)
    assert time.process_time() - begin < 0.5


def test_a_text_that_every_row_repeats_is_not_unpacked() -> None:
    content = _parquet({"note": pa.DictionaryArray.from_arrays(np.zeros(5_000, np.int32), pa.array(["x" * 10**6]))})
    assert len(content) < 10_000
    with pytest.raises(TooMuch, match="unpacked"):
        read_parquet(content, 5_000, 2**26, NOTE)


def test_a_long_text_is_not_unpacked() -> None:
    content = _parquet({"note": ["x" * 10**7]}, use_dictionary=False, write_statistics=False)
    assert len(content) < 50_000
    with pytest.raises(TooMuch, match="unpacked"):
        read_parquet(content, 10, 2**22, NOTE)


def test_other_columns_do_not_count() -> None:
    content = _parquet({"note": ["a"], "other": ["x" * 10**6 * 2]})
    assert read_parquet(content, 1, 2**20, NOTE).to_pydict() == {"note": ["a"]}


@pytest.mark.parametrize(
    ("content", "columns", "told"),
    [
        (b"PAR1 not", NOTE, "."),
        (_parquet({"a": [1]}), NOTE, "no column 'note'"),
        (_parquet({"note": [b"\xff\xfe"]}), NOTE, "."),
        (_parquet({"note": [[1]]}), NOTE, "."),
        (_parquet({"note": ["a"]}, compression="brotli"), NOTE, "BROTLI"),
        (_parquet({f"a{i}": [1] for i in range(300)}), None, "300 columns"),
    ],
)
def test_other_tables_are_refused_in_one_line(content: bytes, columns: pa.Schema | None, told: str) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        read_parquet(content, 10, 2**20, columns)
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_and_bytes_are_read_alike(tmp_path: Path) -> None:
    content = _parquet({"note": ["a", None, "b"], "n": [1, 2, 3]})
    (tmp_path / "a.parquet").write_bytes(content)
    found = read_parquet(tmp_path / "a.parquet", 3, 2**20)
    assert found == read_parquet(content, 3, 2**20) and found["note"].to_pylist() == ["a", None, "b"]
