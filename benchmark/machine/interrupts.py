"""Handles Ctrl-C at moments that are safe, and ends the process where Python could not end cleanly.

Python raises KeyboardInterrupt between any two instructions of the main thread. In the middle of an import, or of Ray's
start or end, that is swallowed at times, or leaves half of something behind which crashes later.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130
"""The exit code."""
SAID = "bench: interrupted"
_SHOW_CURSOR = b"\x1b[?25h"
_pending = False
_depth = 0


def arm() -> None:
    """Take Ctrl-C over from Python, in a process that runs a command only; not where Ctrl-C is to be ignored."""
    global _pending
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        _pending = False
        signal.signal(signal.SIGINT, _on_signal)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Ctrl-C in this block waits for the next `check`; a second one ends the process at once."""
    global _depth
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT)
    ours = main and before is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, _on_signal)
    _depth += main
    try:
        yield
    finally:
        _depth -= main
        if ours:
            signal.signal(signal.SIGINT, before)


def check() -> None:
    """Raise KeyboardInterrupt if Ctrl-C was pressed and held back, or was swallowed by what it hit."""
    global _pending
    if _pending and threading.current_thread() is threading.main_thread():
        _pending = False
        raise KeyboardInterrupt


def leave(code: int, line: str = "") -> NoReturn:
    """End the process now, without Python's own shutdown, in which threads of interrupted libraries may crash.

    Only where all of ours is written. Workers of this machine end with their driver.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # closed, or interrupted in the middle of a write
            stream.flush()
    with contextlib.suppress(OSError):
        if line:
            terminal = os.isatty(2)
            os.write(2, (_SHOW_CURSOR + b"\n" if terminal else b"") + f"{line}\n".encode())
    os._exit(code)


@contextlib.contextmanager
def told() -> Iterator[None]:
    """A KeyboardInterrupt in this block ends the process with one line and an exit code."""
    try:
        yield
    except KeyboardInterrupt:
        sys.stderr.write(f"{SAID}\n")
        raise SystemExit(INTERRUPTED) from None


def _on_signal(signum: int, frame: FrameType | None) -> None:
    global _pending
    if _pending or (not _depth and _imports(frame)):
        leave(INTERRUPTED, SAID)
    _pending = True  # until somebody has taken it
    if not _depth:
        raise KeyboardInterrupt


def _imports(frame: FrameType | None) -> bool:
    """Is a module being loaded? Its own code may swallow the exception, or be left half initialised by it."""
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False
