"""How far a call has come: a bar in a notebook, or where it is asked for."""

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[[int], None]


@contextmanager
def progress_bar(what: str, total: int, unit: str, shown: bool | None = None) -> Iterator[Advance]:
    """A function that takes how many more of `total` are done.

    shown: None shows it in a notebook alone. It goes when the block ends; in a log, its end stays.
    """
    notebook = in_notebook()
    if not (notebook if shown is None else shown):
        yield lambda more: None
    elif notebook:
        yield from _in_notebook(what, total, unit)
    else:
        yield from _in_terminal(what, total, unit)


def in_notebook() -> bool:
    """Does this process belong to a notebook? It is asked without loading IPython."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ in ("ZMQInteractiveShell", "Shell")  # Jupyter's and Colab's


def _in_terminal(what: str, total: int, unit: str) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit))
    console = Console(stderr=True)
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda more: bar.advance(task, more)


def _in_notebook(what: str, total: int, unit: str) -> Iterator[Advance]:
    """Plain HTML, which needs no widgets to be installed."""
    display = importlib.import_module("IPython.display")
    done = 0

    def page() -> object:
        text = f"{what} <progress max={total} value={done}></progress> {done} of {total} {unit}"
        return display.HTML(text)

    handle = display.display(page(), display_id=True)

    def advance(more: int) -> None:
        nonlocal done
        done = min(total, done + more)
        handle.update(page())

    try:
        yield advance
    finally:
        handle.update(display.HTML(""))
