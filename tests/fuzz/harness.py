"""One input and one verdict: what the package may do with an input, and what is a finding."""

import contextlib
import io
import os
import re
import resource
import signal
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from hypothesis.strategies import SearchStrategy

from benchmark.cli.common import fail
from benchmark.reading.text import printable

ROOT = Path(__file__).parents[2]
MOST_CPU_S = 10.0
STILL_S, STILL_CPU_S = 10.0, 0.1
"""Who does so little in so many seconds, on however busy a machine, waits for what never comes."""
MOST_BYTES = 2 * 2**30
MOST_CHARACTERS = 2000
"""Of the line that a user's mistake ends in."""
HEAVY = ("slow", "hangs", "memory")
"""Kinds of finding whose inputs are not made smaller: each try costs seconds."""


@dataclass(frozen=True)
class Surface:
    """cases: inputs, as values whose `repr` says all. check: raises where the package does wrong; folder: empty.

    examples: inputs of a short run, so that it takes about three seconds.
    """

    name: str
    cases: SearchStrategy[Any]
    check: Callable[[Any, Path], object]
    examples: int


class Finding(AssertionError):
    """The package did what it may not. signature: equal for inputs that show the same fault."""

    def __init__(self, kind: str, place: str, text: str) -> None:
        self.kind, self.signature, self.text = kind, f"{kind}: {place}", text
        super().__init__(f"{self.signature}\n{text}")


class Refused(Exception):
    """The package refused the input, in a line that a user can read. place: where in the package."""

    def __init__(self, text: str, place: str) -> None:
        self.place = place
        super().__init__(text)


class _Over(BaseException):
    """No code of the package catches it."""


def examine(surface: Surface, case: Any, folder: Path) -> None:
    """Raise Finding if the package does wrong on this input."""
    with _memory() as peak, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        began = time.process_time()
        try:
            with _clock():
                surface.check(case, folder)
        except Refused:  # as it must be: in one line
            pass
        except Finding as found:
            raise _kind(found.signature)(found.kind, found.signature.partition(": ")[2], found.text) from None
        except _Over as error:
            _found(str(error), place(error).partition(":")[0], _shown(error))
        except Exception as error:
            _found("raises", f"{type(error).__name__} at {place(error)}", _shown(error))
        took = time.process_time() - began
    if took > MOST_CPU_S:
        _found("slow", f"surface {surface.name}", f"it took {took:.1f} s")
    if peak() > MOST_BYTES:
        _found("memory", f"surface {surface.name}", f"it took {peak() / 2**30:.1f} GiB")
    for one in warned:
        _found("warns", f"{one.category.__name__} at {_file(one.filename)}:{one.lineno}", str(one.message))


def asked(call: Callable[..., Any], *arguments: Any) -> Any:
    """What the package answers; Refused for a ValueError or OSError whose line a user can read."""
    try:
        return call(*arguments)
    except (ValueError, OSError) as error:
        readable(line(error), place(error))
        raise Refused(str(error), place(error)) from error


def line(error: Exception) -> str:
    """What the command prints for an error."""
    written = io.StringIO()
    with contextlib.redirect_stderr(written), contextlib.suppress(SystemExit):
        fail(str(error))
    return written.getvalue()


def readable(text: str, where: str) -> None:
    """Raise Finding for a line that is more than one, is long, or that a terminal would obey."""
    safe(text, where)
    if text.count("\n") != 1 or len(text) > MOST_CHARACTERS or not text.removeprefix("bench: error:").strip():
        raise Finding("message", where, f"{len(text)} characters, {text.count(chr(10))} lines: {text[:300]!r}")


def safe(text: str, where: str) -> None:
    """Raise Finding for a text that a terminal would obey, or cannot show."""
    if printable(text) != text:
        first = next(i for i, character in enumerate(text) if printable(character) != character)
        raise Finding("escapes", where, repr(text[max(0, first - 100) : first + 100]))
    with contextlib.suppress(UnicodeEncodeError):
        text.encode()
        return
    raise Finding("escapes", where, repr(text[:300]))


def wrong(what: str, text: str) -> NoReturn:
    """The package's answer is not the right one. what: the rule that it breaks."""
    raise Finding("wrong", what, text)


def _found(kind: str, place: str, text: str) -> NoReturn:
    raise _kind(f"{kind}: {place}")(kind, place, text)


_KINDS: dict[str, type[Finding]] = {}


def _kind(signature: str) -> type[Finding]:
    """A class a signature: hypothesis tells faults apart by them, and shrinks each by itself."""
    return _KINDS.setdefault(signature, type("Finding", (Finding,), {}))


@contextlib.contextmanager
def _clock() -> Iterator[None]:
    last = [time.process_time()]

    def slow(*_: object) -> None:
        raise _Over("slow")

    def look(*_: object) -> None:
        before, last[0] = last[0], time.process_time()
        if last[0] - before < STILL_CPU_S:
            raise _Over("hangs")

    timers = (
        (signal.SIGPROF, signal.ITIMER_PROF, MOST_CPU_S, slow),
        (signal.SIGALRM, signal.ITIMER_REAL, STILL_S, look),
    )
    before = [signal.signal(number, handler) for number, _, _, handler in timers]
    for _, timer, period, _ in timers:
        signal.setitimer(timer, period, period)
    try:
        yield
    finally:
        for (number, timer, _, _), handler in zip(timers, before, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)


@contextlib.contextmanager
def _memory() -> Iterator[Callable[[], int]]:
    """Gives what says by how many bytes the process grew at its peak; twice the allowed is not to be had at all."""
    Path("/proc/self/clear_refs").write_text("5")  # begins a new peak
    before = _status("VmRSS")
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_status("VmSize") + 2 * MOST_BYTES, hard))
    try:
        yield lambda: _status("VmHWM") - before
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _status(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return 1024 * int(found[1])


def place(error: BaseException) -> str:
    """Where in the package an error came up, else where it came up at all."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if f.filename.startswith((str(ROOT / "benchmark"), str(ROOT / "leaderboard")))]
    last = (own or frames)[-1]
    return f"{_file(last.filename)}:{last.lineno}"


def _file(name: str) -> str:
    return name.removeprefix(f"{ROOT}{os.sep}").rpartition("site-packages/")[2]


def _shown(error: BaseException) -> str:
    text = "".join(traceback.format_exception(error))
    return text if len(text) < 6000 else f"{text[:3000]}\n...\n{text[-3000:]}"
