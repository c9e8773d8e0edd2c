"""Writes the picture tables of a suite: the example images that its trials kept, as many as a page can hold."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from benchmark import schema
from benchmark.aggregation.finished_trial import Done
from benchmark.aggregation.suite_results import SuiteResults
from benchmark.reading.json_and_parquet import TooMuch
from benchmark.reading.plausible_values import LONGEST_NAME
from benchmark.results.store import CorruptArtifact

MOST_BYTES, MOST_ROWS = 384 * 2**20, 2_000_000
"""Of all tables of a suite together. A page is made in memory, which it takes about four times."""
_MOST_PICTURE = 8 * 2**20
_TAKEN = {"memorization": ("pictures",), "leakage": tuple(schema.SHOWN)}
"""Stage -> the tables of pictures that its trials write."""


class Pictures:
    """The pictures of a suite, trial by trial; an image that several trials show is there once.

    left_out: trials whose pictures a page does not hold any more.
    """

    def __init__(self, results: SuiteResults) -> None:
        self.left_out = 0
        self._results, self._seen = results, set[int]()
        self._bytes, self._rows = MOST_BYTES, MOST_ROWS
        self._found: dict[str, dict[str, pa.Table]] = {}
        models = {model["name"] for model in results.about["models"]}
        for done in [done for done in results.done if done.stage in _TAKEN and done.model in models]:
            try:
                self._take(done, _TAKEN[done.stage])
            except CorruptArtifact as problem:
                if isinstance(problem.__cause__, TooMuch):
                    self.left_out += 1
                else:
                    results.pass_over(problem)

    def tables(self) -> dict[str, list[pa.Table]]:
        """Name -> the tables of the trials that are still taken for results."""
        kept = {done.key for done in self._results.done}
        found = [tables for key, tables in self._found.items() if key in kept]
        return {name: [tables[name] for tables in found if name in tables] for name in schema.SHOWN}

    def _take(self, done: Done, names: tuple[str, ...]) -> None:
        sizes = self._results.store.sizes(done.key)
        if not all(f"{name}.parquet" in sizes for name in names):
            return  # of an older version, which kept other pictures
        labels = {"suite": self._results.name, "model": done.model, "replica": done.replica, "method": done.method}
        found, room, rows = {}, self._bytes, self._rows
        for name in names:
            columns = schema.SHOWN[name]
            table = self._results.store.table(done.key, name, schema.unlabelled(name), rows, room)
            room, rows = room - table.nbytes, rows - len(table)
            if name == "pictures":
                ids = table["image_id"].to_pylist()
                table = table.filter(pa.array([image not in self._seen for image in ids], pa.bool_()))
                self._seen.update(ids)
            _check(done.key, name, table)
            found[name] = _labelled(table, labels, columns)
        self._found[done.key], self._bytes, self._rows = found, room, rows


def _check(key: str, name: str, table: pa.Table) -> None:
    for field, column in zip(table.schema, table.columns, strict=True):
        if pa.types.is_binary(field.type) and (pc.max(pc.binary_length(column)).as_py() or 0) > _MOST_PICTURE:
            raise CorruptArtifact(key, f"{name}.parquet", "a picture is too large") from TooMuch()
        if pa.types.is_string(field.type) and (pc.max(pc.utf8_length(column)).as_py() or 0) > LONGEST_NAME:
            raise CorruptArtifact(key, f"{name}.parquet", f"a {field.name} is longer than {LONGEST_NAME} characters")


def _labelled(table: pa.Table, labels: dict[str, Any], columns: pa.Schema) -> pa.Table:
    for name in labels.keys() & set(columns.names):
        table = table.append_column(name, pa.array([labels[name]] * len(table), columns.field(name).type))
    return table.select(columns.names).cast(columns)
