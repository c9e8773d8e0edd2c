"""Encodes a trial's outcome as the bytes of its files: Parquet and safetensors, never a pickle."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmark.reading.plausible_values import MOST_ROWS, MOST_TABLE_BYTES, MOST_TABLE_ROWS, odd_rows
from benchmark.results.finished_trials import MOST_MARK_BYTES
from benchmark.schema import MEASURE, ROWS, SCHEMA_VERSION
from benchmark.storage.checksum import seal
from benchmark.trials.trial import Outcome, Row, Trial

ROWS_FILE, TENSORS_FILE = "rows.parquet", "tensors.safetensors"
_NUMBERS = ("value", "low", "high")
_TABLE_NAME = re.compile(r"[a-z0-9_]+")


def encode(trial: Trial, outcome: Outcome, provenance: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of a trial: name -> content. Raises ValueError for a row or a name that must not be stored."""
    files = {ROWS_FILE: parquet(_readable(rows_table(trial, outcome.rows, provenance)))}
    if outcome.tensors:
        from safetensors.torch import save

        plain = {name: tensor.detach().cpu() for name, tensor in outcome.tensors.items()}
        files[TENSORS_FILE] = save({name: _own_memory(tensor) for name, tensor in plain.items()})
    for name, table in outcome.tables.items():
        if name == "rows" or not _TABLE_NAME.fullmatch(name):
            raise ValueError(f"table {name!r} is not allowed; allowed: a-z, 0-9 and _, but not 'rows'")
        if len(table) > MOST_TABLE_ROWS or table.nbytes > MOST_TABLE_BYTES:
            size = f"{len(table)} rows and {table.nbytes} bytes"
            raise ValueError(f"table {name!r} has {size}; allowed: at most {MOST_TABLE_ROWS} and {MOST_TABLE_BYTES}")
        files[f"{name}.parquet"] = parquet(table)
    return files


def mark(trial: Trial, files: Mapping[str, bytes], hashes: Mapping[str, str], provenance: Mapping[str, Any]) -> bytes:
    """The content of `trial.json`, which says what was computed, which files it has and where it was made.

    files, hashes: name -> content, and its sha256. Raises ValueError if it gets too long for a reader.
    """
    content = {
        "schema_version": SCHEMA_VERSION,
        "key": trial.key,
        "trial": trial.to_json(),
        "files": {name: {"bytes": len(files[name]), "sha256": hashes[name]} for name in files},
        "provenance": dict(provenance),
    }
    written = seal(json.dumps(content, indent=1, allow_nan=False).encode())
    if len(written) > MOST_MARK_BYTES:
        raise ValueError(f"the trial's settings have {len(written)} bytes; allowed: at most {MOST_MARK_BYTES}")
    return written


def _readable(rows: pa.Table) -> pa.Table:
    """The rows, if every reader will take them."""
    odd = odd_rows(rows.select([name for name, _, _ in MEASURE]).to_pylist())
    if odd or len(rows) > MOST_ROWS:
        raise ValueError(odd or f"{len(rows)} rows; allowed: at most {MOST_ROWS} of a trial")
    return rows


def rows_table(trial: Trial, rows: list[Row], provenance: Mapping[str, Any]) -> pa.Table:
    """The rows in the columns of `schema.ROWS`, with where they come from."""
    shared = {"stage": trial.stage["method"], "method": "", "space": ""}
    made = {**provenance, "trial_key": trial.key, "schema_version": SCHEMA_VERSION}
    return pa.Table.from_pylist([{**shared, **_checked(row), **made} for row in rows], schema=ROWS)


def _checked(row: Row) -> dict[str, Any]:
    """The row with plain numbers. A number that is not finite is a failure, never an empty cell."""
    plain: dict[str, Any] = dict(row)
    unknown = plain.keys() - Row.__annotations__.keys()
    if unknown or not plain.get("metric"):
        raise ValueError(f"row {plain} has unknown keys {sorted(unknown)} or no metric")
    for name in _NUMBERS:
        if plain.get(name) is not None:
            plain[name] = float(plain[name])
            if not math.isfinite(plain[name]):
                where = ", ".join(f"{k}={plain[k]!r}" for k in ("method", "space") if plain.get(k))
                raise ValueError(
                    f"metric {plain['metric']!r} {f'({where}) ' if where else ''}has {name}={plain[name]}; "
                    "allowed: a finite number, or None with a note that says why"
                )
    return plain


def parquet(table: pa.Table) -> bytes:
    """One Parquet file. The same table gives the same bytes."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _own_memory(tensor: Any) -> Any:
    """A copy where need be: safetensors refuses strides and shared memory, and views of a batch have both."""
    import torch

    if tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.nbytes:
        return tensor
    return tensor.clone(memory_format=torch.contiguous_format)
