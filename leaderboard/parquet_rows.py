"""Reads the Parquet tables as plain rows, and writes them as CSV or as JSON inside a page."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from markupsafe import Markup

Row = dict[str, Any]
_MOST_ROWS = 10_000_000


def read(path: Path, schema: pa.Schema, *, required: bool = True) -> pa.Table:
    """The table in `path` with exactly the columns of `schema`; numbers that are not finite become null.

    A column the file lacks is null throughout. A missing file is an empty table where it is not `required`.
    Raises ValueError, in one line that names the file, if it is missing, damaged or something else.
    """
    if not path.is_file():
        if required:
            raise ValueError(f"{path}: no such file; it is written by `bench run`")
        return schema.empty_table()
    try:
        parquet = pq.ParquetFile(path)
        if "suite" not in parquet.schema_arrow.names:
            raise ValueError(f"it has no column 'suite', only {', '.join(parquet.schema_arrow.names[:8])}")
        if parquet.metadata.num_rows > _MOST_ROWS:
            raise ValueError(f"it has {parquet.metadata.num_rows} rows; allowed: at most {_MOST_ROWS}")
        parquet.close()
        table = pq.read_table(path, schema=schema, partitioning=None, page_checksum_verification=True)
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError, TypeError, NotImplementedError, KeyError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path}: not a Parquet file this page can be built from: {reason}") from error
    if table["suite"].null_count:
        raise ValueError(f"{path}: a row has no suite; every row must name its suite")
    return _finite(table)


def _finite(table: pa.Table) -> pa.Table:
    for i, field in enumerate(table.schema):
        if pa.types.is_floating(field.type):
            column = table.column(i)
            table = table.set_column(i, field, pc.if_else(pc.is_finite(column), column, pa.scalar(None, field.type)))
    return table


def write_csv(table: pa.Table, path: Path) -> None:
    """All columns of `table`, empty where null."""
    pyarrow.csv.write_csv(table, path)


def rows(table: pa.Table) -> list[Row]:
    found: list[Row] = table.to_pylist()
    return found


def parts(table: pa.Table, column: str) -> dict[Any, pa.Table]:
    """Value of a column -> its rows, in their order; the table is sorted once, whatever the number of values."""
    codes = pc.dictionary_encode(table[column].combine_chunks(), null_encoding="encode")
    order = np.argsort(codes.indices.to_numpy(), kind="stable")
    ordered, sizes = table.take(order), np.bincount(codes.indices, minlength=len(codes.dictionary))
    starts = np.cumsum(sizes) - sizes
    return {
        value: ordered.slice(start, size)
        for value, start, size in zip(codes.dictionary.to_pylist(), starts.tolist(), sizes.tolist(), strict=True)
    }


def group(items: Iterable[Row], *keys: str) -> dict[tuple[Any, ...], list[Row]]:
    """Rows by the values of `keys`, in the order in which they first occur."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for item in items:
        groups.setdefault(tuple(item[key] for key in keys), []).append(item)
    return groups


def number(value: Any) -> float | None:
    """`value` if it is a finite number, else None."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None


_UNSAFE = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def script_json(value: Any) -> Markup:
    """JSON that can stand inside `<script type="application/json">` whatever its strings hold."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    return Markup(text.translate(_UNSAFE))
