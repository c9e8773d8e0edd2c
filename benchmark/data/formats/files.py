"""Finds the files of a data set on this machine, or downloads them with the library that knows how."""

import contextlib
import io
import os
import queue
import socket
import struct
import tempfile
import threading
import time
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from benchmark.machine.home import cache_folder as cache_folder

_PROBE_S = 8.0
"""How long a host may take to answer before a download is given up; a whole refusal stays under 15 s."""
_STALL_S = 30.0
MALFORMED = (
    OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, MemoryError, SyntaxError,
    AssertionError, RuntimeError, tokenize.TokenError, zlib.error, struct.error, zipfile.BadZipFile,
)  # fmt: skip
"""What readers raise on a file that is cut off or not of their kind; none of them says so in a class of its own."""


@dataclass(frozen=True)
class Files:
    """What a data set consists of.

    names: files (or folders), all of which one folder must hold. gz: each may have .gz behind its name.
    subfolders: where they may lie below a root, the place where the fetching library puts them first.
    advice: how a person gets them. more: other folders of this machine to look in.
    fetch: puts them below a given folder, in the first of `subfolders`; None: nobody can.
    urls: the library's own addresses of them; one that answers is enough.
    """

    data_set: str
    names: tuple[str, ...]
    subfolders: tuple[str, ...]
    advice: str
    more: tuple[Path, ...] = ()
    fetch: Callable[[Path], object] | None = None
    urls: Callable[[], list[str]] = list
    gz: bool = False


def locate(files: Files, root: Path | None, download: bool = False) -> list[Path]:
    """The paths of `files.names`, from the first folder that has them all; fetched first if `download` says so.

    Looks in `root`, in $BENCH_DATA, in `files.more` and in the cache folder. Raises ValueError, in one line: which
    files were looked for, where, and how to get them.
    """
    folders = [base / sub for base in (*roots(root), cache_folder()) for sub in files.subfolders] + list(files.more)
    found = _first(files, folders)
    why = ""
    if found is None and download:
        target = next(iter(roots(root)), cache_folder())
        why = "it cannot be downloaded; " if files.fetch is None else _fetched(files, target)
        found = _first(files, folders)
    if found is None:
        names = ", ".join(files.names)
        where = ", ".join(str(folder) for folder in dict.fromkeys(folders))
        suffix = " (plain or .gz)" if files.gz else ""
        raise ValueError(f"{files.data_set}: no folder holds {names}{suffix}; looked in {where}; {why}{files.advice}")
    return found


def roots(root: Path | None) -> list[Path]:
    """The folders that the user named, first the one of this call."""
    named = [root] if root is not None else []
    if os.environ.get("BENCH_DATA"):
        named.append(Path(os.environ["BENCH_DATA"]))
    return named


def one_line(error: BaseException) -> str:
    """What an error says; its class if it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def _first(files: Files, folders: list[Path]) -> list[Path] | None:
    suffixes = ("", ".gz") if files.gz else ("",)
    for folder in folders:
        found = [next((p for s in suffixes if (p := folder / f"{name}{s}").exists()), None) for name in files.names]
        paths = [path for path in found if path is not None]
        if len(paths) == len(files.names):
            return paths
    return None


def _fetched(files: Files, target: Path) -> str:
    """Fetch below `target`; "" if it went well, else why not.

    Into a folder beside, renamed when it is whole: half a download is never taken for data.
    """
    assert files.fetch is not None
    urls = files.urls()
    hosts = " or ".join(dict.fromkeys(urlsplit(url).netloc for url in urls))
    problem = _unreachable(urls)
    if problem:
        return f"{hosts} cannot be reached ({problem}); "
    try:
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target, prefix=".download-") as folder, _quiet():
            files.fetch(Path(folder))
            _move(Path(folder) / files.subfolders[0], target / files.subfolders[0])
    except (OSError, RuntimeError, ValueError, EOFError, HTTPException) as error:
        return f"the download from {hosts} into {target} failed ({one_line(error)}); "
    return ""


def _move(source: Path, target: Path) -> None:
    """Move what `source` holds to `target`: whole folders where they are not there, else file by file."""
    target.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        place = target / path.name
        if path.is_dir() and place.is_dir():
            _move(path, place)
        else:
            path.replace(place)


def _unreachable(urls: list[str]) -> str:
    """Why no server answers for any of `urls` within the time; "" if one does, whatever it says.

    In threads, since a name server may hang; through urllib, so that a proxy is used as in the download.
    """
    answers: queue.Queue[str] = queue.Queue()

    def probe(url: str) -> None:
        try:
            urlopen(Request(url, method="HEAD"), timeout=_PROBE_S).close()
            answers.put("")
        except HTTPError:
            answers.put("")
        except (OSError, HTTPException, ValueError) as error:
            answers.put(one_line(error))

    for url in urls:
        threading.Thread(target=probe, args=(url,), daemon=True).start()
    end = time.monotonic() + _PROBE_S
    problem = ""
    for _ in urls:
        try:
            problem = answers.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            return f"no answer in {_PROBE_S:.0f} s"
        if not problem:
            return ""
    return problem


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars in between ours, and no connection that stalls for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_STALL_S)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        socket.setdefaulttimeout(before)
