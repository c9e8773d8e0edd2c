"""How far a run is: a bar in a notebook, a line that is written over in a terminal, nothing elsewhere."""

import html
import sys
import time
from typing import Any, Self

from benchmark.reading.text import printable
from benchmark.running.schedule import Event

_EVERY_S = 0.2


class RunProgress:
    """Takes the events of a run. Use as a context manager. title: of the run."""

    def __init__(self, title: str) -> None:
        self._title, self._begin, self._told = printable(title), time.monotonic(), 0.0
        self._handle = _notebook_display()
        self._line = self._handle is None and sys.stderr is not None and sys.stderr.isatty()
        self._num_failed, self._running = 0, ""
        self._last: Event | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._last is not None:
            self._show(self._last)
        if self._line and self._last is not None:
            sys.stderr.write("\n")

    def __call__(self, event: Event) -> None:
        if event.kind == "started" and event.node is not None:
            self._running = " ".join(filter(None, (event.node.stage, event.node.method, event.node.model)))
        self._num_failed += event.kind == "failed"
        self._last = event
        if event.num_left and time.monotonic() - self._told >= _EVERY_S:
            self._show(event)

    def _show(self, event: Event) -> None:
        self._told = time.monotonic()
        text = self._text(event)
        if self._handle is not None:
            bar = f'<progress value="{event.num_done}" max="{max(1, event.num_total)}"></progress>'
            self._handle.update({"text/html": f"{bar} {html.escape(text)}", "text/plain": text}, raw=True)
        elif self._line:
            sys.stderr.write(f"\r\x1b[K{text[:119]}")
            sys.stderr.flush()

    def _text(self, event: Event) -> str:
        parts = [f"{self._title}: {event.num_done}/{event.num_total} trials", f"{self._elapsed():.0f} s"]
        if self._num_failed:
            parts.append(f"{self._num_failed} failed")
        if event.num_left and self._running:
            parts.append(printable(self._running))
        return ", ".join(parts)

    def _elapsed(self) -> float:
        return time.monotonic() - self._begin


def _notebook_display() -> Any:
    """A place in the output of the running cell that can be written over; None where there is no notebook."""
    if not in_notebook():
        return None
    from IPython.display import display

    return display({"text/plain": ""}, raw=True, display_id=True)


def in_notebook() -> bool:
    """Is this a kernel whose front end shows HTML?"""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and getattr(shell, "kernel", None) is not None
