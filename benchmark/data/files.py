"""Where the files of a data set are: found on this machine, or fetched by the library that knows how."""

import contextlib
import io
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

_PROBE_S = 8.0
"""How long a host may take to answer before a download is given up; a whole refusal stays under 15 s."""
_STALL_S = 30.0


@dataclass(frozen=True)
class Files:
    """What a data set consists of.

    names: files (or folders), all of which one folder must hold, each as it is or with .gz behind it.
    subfolders: where they may lie below a root, the place where the fetching library puts them first.
    advice: how a person gets them. more: other folders of this machine to look in.
    fetch: puts them below a given folder, in the first of `subfolders`; None: nobody can. host: where it asks.
    """

    data_set: str
    names: tuple[str, ...]
    subfolders: tuple[str, ...]
    advice: str
    more: tuple[Path, ...] = ()
    fetch: Callable[[Path], object] | None = None
    host: str = ""


def locate(files: Files, root: Path | None, download: bool = False) -> list[Path]:
    """The paths of `files.names`, from the first folder that has them all; fetched first if `download` says so.

    Looks in `root`, in $BENCH_DATA, in `files.more` and in the cache folder. Raises ValueError, in one line: which
    files were looked for, where, and how to get them.
    """
    folders = [base / sub for base in (*roots(root), cache_folder()) for sub in files.subfolders] + list(files.more)
    found = _first(files.names, folders)
    why = ""
    if found is None and download:
        target = next(iter(roots(root)), cache_folder())
        why = "it cannot be downloaded; " if files.fetch is None else _fetched(files, target)
        found = _first(files.names, folders)
    if found is None:
        names = ", ".join(files.names)
        where = ", ".join(str(folder) for folder in dict.fromkeys(folders))
        raise ValueError(
            f"{files.data_set}: no folder holds {names} (plain or .gz); looked in {where}; {why}{files.advice}"
        )
    return found


def roots(root: Path | None) -> list[Path]:
    """The folders that the user named, first the one of this call."""
    named = [root] if root is not None else []
    if os.environ.get("BENCH_DATA"):
        named.append(Path(os.environ["BENCH_DATA"]))
    return named


def cache_folder() -> Path:
    """Where downloads go if the user names no root."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "robust-or-private"


def _first(names: tuple[str, ...], folders: list[Path]) -> list[Path] | None:
    for folder in folders:
        found = [next((p for p in (folder / n, folder / f"{n}.gz") if p.exists()), None) for n in names]
        paths = [path for path in found if path is not None]
        if len(paths) == len(names):
            return paths
    return None


def _fetched(files: Files, target: Path) -> str:
    """Fetch below `target`; "" if it went well, else why not.

    Into a folder beside, renamed when it is whole: half a download is never taken for data.
    """
    assert files.fetch is not None
    place = target / files.subfolders[0]
    problem = _unreachable(files.host)
    if problem:
        return f"{files.host} cannot be reached ({problem}); "
    try:
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target, prefix=".download-") as folder, _quiet():
            files.fetch(Path(folder))
            place.mkdir(parents=True, exist_ok=True)
            for name in (Path(folder) / files.subfolders[0]).iterdir():
                if not (place / name.name).exists():
                    name.rename(place / name.name)
    except (OSError, RuntimeError, ValueError, EOFError, HTTPException) as error:
        return f"the download from {files.host} into {target} failed ({' '.join(str(error).split())}); "
    return ""


def _unreachable(host: str) -> str:
    """Why nobody answers at `host` within the time; "" if somebody does. In a thread: a name server may hang."""
    answer = [f"no answer in {_PROBE_S:.0f} s"]

    def probe() -> None:
        try:
            socket.create_connection((host, 443), timeout=_PROBE_S).close()
            answer[0] = ""
        except OSError as error:
            answer[0] = str(error)

    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(_PROBE_S)
    return answer[0]


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
