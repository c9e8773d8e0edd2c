"""The table of `bench list`: every registered method."""

from rich.table import Table
from rich.text import Text

from benchmark import registry


def methods() -> Table:
    """`bench list`: every registered method, what it is and where it is from."""
    table = Table(title="registered methods", title_justify="left")
    for name in ("kind", "method", "what it is", "source"):
        table.add_column(name, overflow="fold")
    for kind, names in registry.KINDS.items():
        if kind == "stage":
            continue
        for name in names:
            method = registry.lookup(kind, name)
            what = (method.__doc__ or "").strip().partition("\n")[0]
            table.add_row(kind, name, Text(what), Text(method.SOURCE))
    return table
