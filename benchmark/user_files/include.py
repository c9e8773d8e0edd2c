"""`--include FILE.py`: files of the user's that bring methods of their own.

Each runs once a process, as a module whose name has the hash of its text, so that two texts are never one method.
"""

import functools
import hashlib
import linecache
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from benchmark.spec import Spec, SpecError
from benchmark.user_files import users_code

_INCLUDED: dict[str, "Source"] = {}
"""Module name of an included file -> the file."""


@dataclass(frozen=True)
class Source:
    """The text of a file of the user's, as it travels to other machines. path: where it was, for messages."""

    path: str
    text: bytes

    @functools.cached_property
    def sha256(self) -> str:
        """Of the text: it is part of the identity of its methods."""
        return hashlib.sha256(self.text).hexdigest()


def source(path: str) -> Source:
    """The file as it was included in this process, else as it is now. Raises SpecError if it is no Python file."""
    file = Path(path).resolve()
    for known in reversed(_INCLUDED.values()):  # what was planned with counts, whatever the file has become
        if known.path == str(file):
            return known
    return _read(path)


def _read(path: str) -> Source:
    file = Path(path).resolve()
    if not file.is_file():
        raise SpecError(f"--include: no file {path!r}")
    if file.suffix != ".py":
        raise SpecError(f"--include: {path!r} is not a Python file")
    return Source(str(file), file.read_bytes())


def load(file: str | Source) -> None:
    """Import the user's file, so that it can call `register`. Runs the user's code.

    file: its path, or its text, whose path need not exist here. Raises SpecError, with the file and the line, for
    whatever it raises, and KeyboardInterrupt, with both, for Ctrl-C.
    """
    given = _read(file) if isinstance(file, str) else file
    name = f"bench_include_{given.sha256[:16]}"
    if name in sys.modules:
        return
    module = ModuleType(name)
    module.__file__ = given.path
    lines = given.text.decode(errors="replace").splitlines(keepends=True)
    linecache.cache[given.path] = (len(given.text), None, lines, given.path)  # so that tracebacks show it anywhere
    sys.modules[name], _INCLUDED[name] = module, given
    try:
        with users_code.running(f"--include: {(file if isinstance(file, str) else given.path)!r}", given.path):
            exec(compile(given.text, given.path, "exec", dont_inherit=True), module.__dict__)
    except BaseException:  # the next import must not take it for a done one
        sys.modules.pop(name, None)
        _INCLUDED.pop(name, None)
        raise


def modules() -> dict[str, ModuleType]:
    """Name of each included file, without .py, -> its module."""
    return {Path(str(sys.modules[name].__file__)).stem: sys.modules[name] for name in _INCLUDED}


def source_of(spec: Spec) -> Source | None:
    """The user's file that decides what a method does; None for a method that the benchmark brings."""
    return _INCLUDED.get(spec.origin)


def path_of(spec: Spec) -> str:
    """Path of that file; "" for a method that the benchmark brings."""
    found = source_of(spec)
    return found.path if found else ""


def blame(error: BaseException) -> str:
    """What an error is, if it came up in a file of the user's: "'mine.py' line 3: KeyError: 'x'"; else ""."""
    for given in _INCLUDED.values():
        if where := users_code.line(error, given.path):
            return f"{given.path!r}{where}: {users_code.described(error)}"
    return ""
