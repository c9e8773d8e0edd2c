"""Repeats a call to a store that does not answer, for some minutes and with a message, instead of ending the run."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from benchmark.machine.interrupts import check

T = TypeVar("T")
FOR_S = 300.0
_FIRST_S, _LONGEST_S, _STEP_S = 0.5, 10.0, 0.5
_log = logging.getLogger(__name__)
_lock = threading.Lock()
_silent = False


def persist(call: Callable[[], T], passing: Callable[[BaseException], str], for_s: float | None = None) -> T:
    """Make the call again and again while it raises what may pass; then raise what it raised last.

    passing: what is wrong, in a line, for an error that may pass; empty for one that will not. Calls that are made
    again have to be such as may be made twice. for_s: `FOR_S` if it is None.
    """
    begin, pause = time.monotonic(), _FIRST_S
    for_s = FOR_S if for_s is None else for_s
    while True:
        try:
            found = call()
        except Exception as error:
            reason, left = passing(error), begin + for_s - time.monotonic()
            if not reason or left <= 0:
                raise
            _say(True, f"the store does not answer ({reason}): trying again for up to {for_s / 60:.3g} min")
            _sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_S)
        else:
            if _silent:
                _say(False, "the store answers again")
            return found


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """In this block every call is made once: at the beginning of a command the user waits for an answer."""
    global FOR_S
    before, FOR_S = FOR_S, 0.0
    try:
        yield
    finally:
        FOR_S = before


def _say(silent: bool, text: str) -> None:
    """Once, whatever number of threads finds it out."""
    global _silent
    with _lock:
        if silent != _silent:
            _silent = silent
            _log.warning("bench: %s", text)


def _sleep(seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        check()  # Ctrl-C is held back where a run calls
        time.sleep(min(left, _STEP_S))
