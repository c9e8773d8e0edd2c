"""Runs code of the user's in this process: an error in it becomes one line, with the file and its line."""

import logging
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from benchmark.reading.text import printable
from benchmark.spec import SpecError

SAY_AFTER_S = 30.0
"""How long code of the user's may run before a line says where it is; then again after each doubling."""
_MOST_TEXT = 500
_log = logging.getLogger("benchmark")  # of a program that sets up no logging, its warnings go to stderr


@contextmanager
def running(what: str, file: str) -> Iterator[None]:
    """Around code of the user's in this file. what: how messages name it.

    Raises SpecError, with the line, for whatever the code raises, SystemExit and KeyboardInterrupt among it, and
    KeyboardInterrupt, with the line, for Ctrl-C. Nothing is ended that takes long: it may be meant so.
    """
    ended = threading.Event()
    watch = (what, file, threading.get_ident(), ended)
    threading.Thread(target=_tell_of_long_runs, args=watch, daemon=True).start()
    try:
        with _ctrl_c_noticed() as pressed:
            yield
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and pressed:
            raise KeyboardInterrupt(f"{what}{line(error, file)} was running") from None
        where = line(error, file)
        if isinstance(error, SpecError) and not where:  # of a check of ours
            raise
        raise SpecError(f"{what}{where}: {described(error)}") from error
    finally:
        ended.set()


def line(error: BaseException, file: str) -> str:
    """Where in the file an error came up: " line 3", or "" if it did elsewhere."""
    if isinstance(error, SyntaxError) and error.filename == file:
        return f" line {error.lineno}" if error.lineno else ""
    return _line(traceback.walk_tb(error.__traceback__), file)


def described(error: BaseException) -> str:
    """What was raised, in one line: "ZeroDivisionError: division by zero"."""
    try:
        text = error.msg if isinstance(error, SyntaxError) else str(error)
    except BaseException:  # its class is the user's, too
        text = "(its text cannot be made)"
    text = printable(" ".join(text[:_MOST_TEXT].split()))
    if isinstance(error, SpecError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _line(frames: "Iterator[tuple[FrameType, int]]", file: str) -> str:
    """Of the innermost frame in the file, which comes last."""
    lines = [number for frame, number in frames if frame.f_code.co_filename == file]
    return f" line {lines[-1]}" if lines else ""


def _tell_of_long_runs(what: str, file: str, thread: int, ended: threading.Event) -> None:
    waited, wait = 0.0, SAY_AFTER_S
    while not ended.wait(wait):
        waited += wait
        frame = sys._current_frames().get(thread)
        where = _line(iter(list(traceback.walk_stack(frame))[::-1]), file) if frame else ""
        _log.warning("bench: %s%s still runs after %.3g s; Ctrl-C ends it", what, where, waited)
        wait = waited


@contextmanager
def _ctrl_c_noticed() -> Iterator[list[int]]:
    """A list that is no longer empty once Ctrl-C was pressed: code can raise KeyboardInterrupt by itself."""
    pressed: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield pressed
        return

    def handler(number: int, frame: FrameType | None) -> None:
        pressed.append(number)
        before(number, frame)

    signal.signal(signal.SIGINT, handler)
    try:
        yield pressed
    finally:
        if signal.getsignal(signal.SIGINT) is handler:  # else the user's code has set one of its own
            signal.signal(signal.SIGINT, before)
