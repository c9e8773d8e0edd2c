"""The index of finished trials: their numbers in one file, for fast resumes and pages. Derived, never the truth.

    index/<hash of its content>.parquet

A line holds for a trial whose folder has the names, sizes and times that it had when the line was written, which a
listing tells. A trial that was computed anew, set aside or damaged has others, and is looked at itself. So an index
needs no care: whoever writes a trial leaves it alone, and it may be deleted at any time.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmark.schema import MEASURE, PROVENANCE
from benchmark.storage import Leaf, Storage, Tree

FILE = re.compile(r"[0-9a-f]{16}\.parquet")
_MOST_BYTES = 2 * 2**30
_ROW = pa.struct([(name, kind) for name, kind, _ in MEASURE])
_PROVENANCE = pa.struct([(name, kind) for name, kind, _ in PROVENANCE if name != "trial_key"])
SCHEMA = pa.schema(
    [("signature", pa.binary()), ("files", pa.string()), ("made", _PROVENANCE), ("rows", pa.list_(_ROW))],
    metadata={"index_version": "1"},
)

WHOLE = tuple(SCHEMA.names)


class Kept(NamedTuple):
    """The numbers of a finished trial, without its artifacts.

    rows: dicts of `schema.MEASURE`. made: columns of `schema.PROVENANCE`. files: what it wrote, from its mark.
    """

    rows: tuple[dict[str, Any], ...]
    made: Mapping[str, Any]
    files: Mapping[str, Any]

    @property
    def content(self) -> str:
        """Hash of all that it wrote."""
        return hashlib.sha256(json.dumps(self.files, sort_keys=True).encode()).hexdigest()


def signature(key: str, there: Tree) -> bytes:
    """16 bytes for a trial and the files in its folder, which another execution of the trial does not have."""
    seen = [
        (name, leaf.bytes, leaf.modified, leaf.odd) if isinstance(leaf, Leaf) else (name, -1, 0.0, "folder")
        for name, leaf in sorted(there.items())
    ]
    return hashlib.blake2b(f"{key}{seen}".encode(), digest_size=16).digest()


class Index:
    """The index files of a store. problems: name and reason of those that are none."""

    def __init__(self, storage: Storage, columns: Sequence[str] = ("signature",)) -> None:
        """columns: those that are wanted, of which one is the signature."""
        self.names: list[str] = []
        self.problems: list[tuple[str, str]] = []
        self.tables: list[pa.Table] = []
        for name in sorted(name for name in storage.tree("index", 1) if FILE.fullmatch(name)):
            try:
                content = storage.read(f"index/{name}", most=_MOST_BYTES)
                if file_name(content) != name:
                    raise ValueError("its content is not the one that was written")
                self.tables.append(_read(content, columns))
                self.names.append(name)
            except FileNotFoundError:  # another run has just put a newer one in its place
                continue
            except (pa.ArrowException, OSError, ValueError) as error:
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                self.problems.append((f"index/{name}", f"damaged, or of another version: {reason}"))
        self._known: set[bytes] = {one for table in self.tables for one in table["signature"].to_pylist()}

    def __contains__(self, one: bytes) -> bool:
        return one in self._known

    def __len__(self) -> int:
        return len(self._known)

    def kept(self, wanted: Collection[bytes]) -> Iterator[tuple[bytes, Kept]]:
        """The lines of these signatures; of an index with the columns `WHOLE`."""
        for table in self.tables:
            yield from _lines(table.filter(pc.is_in(table["signature"], pa.array(list(wanted), pa.binary()))))


def file_name(content: bytes) -> str:
    """The name of an index file with this content."""
    return f"{hashlib.sha256(content).hexdigest()[:16]}.parquet"


def encode(lines: Iterable[tuple[bytes, Kept]]) -> pa.Table:
    """Lines as a table of `SCHEMA`."""
    found = [
        {"signature": one, "files": json.dumps(kept.files), "made": kept.made, "rows": kept.rows} for one, kept in lines
    ]
    return pa.Table.from_pylist(found, schema=SCHEMA)


def _read(content: bytes, columns: Sequence[str]) -> pa.Table:
    parquet = pq.ParquetFile(pa.BufferReader(content))
    if not parquet.schema_arrow.equals(SCHEMA, check_metadata=False):
        raise ValueError("it has other columns")
    if (parquet.schema_arrow.metadata or {}).get(b"index_version") != SCHEMA.metadata[b"index_version"]:
        raise ValueError("it has another version")
    table = parquet.read(columns=list(columns))
    table.validate(full=True)
    return table


def _lines(table: pa.Table) -> Iterator[tuple[bytes, Kept]]:
    """Column by column, since nested values one by one take several times as long."""
    nested = table["rows"].combine_chunks()
    ends = nested.offsets.to_pylist()
    rows = _dicts(nested.flatten())
    made = _dicts(table["made"].combine_chunks())
    for i, (one, files) in enumerate(zip(table["signature"].to_pylist(), table["files"].to_pylist(), strict=True)):
        start = ends[i] - ends[0]
        yield one, Kept(tuple(rows[start : ends[i + 1] - ends[0]]), made[i], json.loads(files))


def _dicts(structs: Any) -> list[dict[str, Any]]:
    """The structs, in which equal strings are one object: of 100,000 trials most are."""
    names = [field.name for field in structs.type]
    same: dict[Any, Any] = {}
    columns = [
        [same.setdefault(value, value) for value in column.to_pylist()]
        if pa.types.is_string(column.type)
        else column.to_pylist()
        for column in structs.flatten()
    ]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
