"""JSON and Parquet that anybody may have written, read within bounds; what is outside of them raises ValueError."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_CONTAINERS, _MOST_TEXTS = 1_000_000, 6_000_000
"""Objects and lists, and texts, of a JSON file: each takes many times its bytes of memory. A plan of 400,000 trials has
half of them."""
_MOST_INT = 2**63
_DIGITS = bytes(48 if chr(c).isdigit() and c < 128 else 44 if chr(c) in "[:,- \t\r\n" else 120 for c in range(256))
_LONG = b"," + b"0" * 19
"""In a text that was translated with `_DIGITS`: where an integer may need more than 64 bits."""
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_CODECS = frozenset(["UNCOMPRESSED", "SNAPPY", "ZSTD"])
_MOST_PARTS = 10_000
"""Lists in the footer of a Parquet file."""
_MOST_COLUMNS = 200
_BATCH = 65_536


class TooMuch(ValueError):
    """More rows or bytes than the caller takes: the file may be sound all the same."""


def parse(content: bytes) -> Any:
    """JSON with numbers that int64 and float64 hold, all finite, and no key twice in an object."""
    if content.count(b"{") + content.count(b"[") > _MOST_CONTAINERS or content.count(b'"') > 2 * _MOST_TEXTS:
        raise ValueError("it holds more objects, lists or texts than any run writes")
    try:
        return (_CAREFUL if _LONG in content.translate(_DIGITS) else _QUICK).decode(content.decode("utf-8"))
    except RecursionError as error:
        raise ValueError("it is nested without end") from error


def parse_encodable(content: bytes) -> Any:
    """`parse`, with halves of surrogate pairs, which no file and no terminal takes, as the text of their escapes."""
    value = parse(content)
    return _encodable(value) if _SURROGATE.search(content) else value


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, list):
        return [_encodable(one) for one in value]
    return {_encodable(key): _encodable(one) for key, one in value.items()} if isinstance(value, dict) else value


def _whole(text: str) -> int:
    if len(text) > 20 or not -_MOST_INT <= int(text) < _MOST_INT:
        raise ValueError(f"{text[:30]} is a number that no run writes; allowed: 64 bits")
    return int(text)


def _real(text: str) -> float:
    number = float(text)
    if number - number != 0.0:  # infinite
        raise ValueError(f"{text[:30]} is a number that no run writes; allowed: what float64 holds")
    return number


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number; allowed: finite ones")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has a key twice")
    return found


_QUICK = json.JSONDecoder(parse_float=_real, parse_constant=_no_number, object_pairs_hook=_unique)
_CAREFUL = json.JSONDecoder(parse_int=_whole, parse_float=_real, parse_constant=_no_number, object_pairs_hook=_unique)


def read_parquet(
    found: Path | bytes, most_rows: int, most_bytes: int, columns: "pa.Schema | None" = None
) -> "pa.Table":
    """A table of at most so many rows, and bytes once it is unpacked. Raises TooMuch, ValueError.

    columns: those that are read, each of which must be there with this type, or one that casts to it without loss;
    None: all. A few bytes can stand for billions of equal rows, or for a text that every row repeats: the footer tells
    the first, and texts stay in their dictionary until it is known how long they are together.
    """
    import pyarrow as pa

    try:
        return _table(found, most_rows, most_bytes, columns)
    except TooMuch:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, NotImplementedError, OverflowError) as error:
        raise ValueError((str(error).strip() or type(error).__name__).splitlines()[0][:300]) from error


def _table(found: Path | bytes, most_rows: int, most_bytes: int, columns: "pa.Schema | None") -> "pa.Table":
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = found if isinstance(found, Path) else pa.BufferReader(found)
    limits: Any = {"thrift_string_size_limit": 2**24, "thrift_container_size_limit": _MOST_PARTS}
    file = pq.ParquetFile(source, **limits)
    kinds = file.schema_arrow
    names = kinds.names if columns is None else columns.names
    if lacking := set(names) - set(kinds.names):
        raise ValueError(f"it has no column {min(lacking)!r}")
    rows, unpacked = _sizes(file.metadata, set(names), most_rows)
    if unpacked > most_bytes:
        raise TooMuch(f"unpacked it has {unpacked} bytes; allowed: at most {most_bytes}")
    if rows * unpacked > most_bytes:  # a text may be repeated in every row
        texts = [name for name in names if _is_text(kinds.field(name).type)]
        folded = pq.ParquetFile(source, read_dictionary=texts, **limits)
        _check_unfolded(folded.iter_batches(_BATCH, columns=texts, use_threads=False), most_bytes)
    table = file.read(columns=list(names), use_threads=False)
    return table if columns is None else table.select(columns.names).cast(columns)


def _sizes(about: Any, names: set[str], most_rows: int) -> tuple[int, int]:
    """(rows, bytes of the named columns as they are unpacked, each value of a dictionary once)."""
    if about.num_columns > _MOST_COLUMNS:
        raise ValueError(f"it has {about.num_columns} columns; allowed: at most {_MOST_COLUMNS}")
    rows = unpacked = 0
    for group in map(about.row_group, range(about.num_row_groups)):
        rows += group.num_rows
        for column in map(group.column, range(about.num_columns)):
            if column.path_in_schema.partition(".")[0] not in names:
                continue
            if column.compression not in _CODECS:
                raise ValueError(f"it is packed with {column.compression}; allowed: {', '.join(sorted(_CODECS))}")
            if column.num_values > most_rows:
                raise TooMuch(f"a column has {column.num_values} values; allowed: at most {most_rows}")
            unpacked += max(column.total_uncompressed_size, column.total_compressed_size)
    if rows > most_rows or rows != about.num_rows:
        raise TooMuch(f"it has {rows} rows; allowed: at most {most_rows}")
    return rows, unpacked


def _is_text(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    return any(test(plain) for test in (pa.types.is_string, pa.types.is_binary))


def _check_unfolded(batches: "Iterator[pa.RecordBatch]", most_bytes: int) -> None:
    """batches: of texts in their dictionaries."""
    import pyarrow as pa
    import pyarrow.compute as pc

    together = 0
    for column in (column for batch in batches for column in batch.columns):
        lengths = pc.binary_length(column.dictionary).cast(pa.int64())
        together += pc.sum(lengths.take(column.indices)).as_py() or 0
        if together > most_bytes:
            raise TooMuch(f"unpacked it has more than {most_bytes} bytes; allowed: up to that")
